"""FastAPI's own server-sent events, fed by a hub as its users write one: a subscription, a queue per client."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from redis.asyncio import Redis

URL = os.environ["MILEPOST_REDIS_URL"]
clients: defaultdict[str, set[asyncio.Queue[ServerSentEvent]]] = defaultdict(set)


async def listen(redis: Redis) -> None:
    """Decode each event once and put it into the queues of its job."""
    async with redis.pubsub() as pubsub:
        await pubsub.psubscribe("job:*")
        async for message in pubsub.listen():
            if message["type"] != "pmessage":
                continue
            text = message["data"].decode()
            event = json.loads(text)
            told = ServerSentEvent(raw_data=text, event=event["type"], id=str(event["seq"]))
            for queue in clients[message["channel"].decode().removeprefix("job:")]:
                queue.put_nowait(told)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Redis.from_url(URL) as redis, asyncio.TaskGroup() as group:
        listening = group.create_task(listen(redis))
        yield
        listening.cancel()


app = FastAPI(lifespan=lifespan)


@app.get("/stream/{job_id}", response_class=EventSourceResponse)
async def stream(job_id: str) -> AsyncIterator[ServerSentEvent]:
    queue: asyncio.Queue[ServerSentEvent] = asyncio.Queue()
    clients[job_id].add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        clients[job_id].discard(queue)


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["MILEPOST_PORT"]), log_level="warning", access_log=False
    )
