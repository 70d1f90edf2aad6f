"""The usual recipe, as tutorials show it: a Redis pub/sub connection and a JSON encoding per client."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from arq import create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI
from pydantic import BaseModel
from redis.asyncio import Redis
from sse_starlette.sse import EventSourceResponse

URL = os.environ["MILEPOST_REDIS_URL"]
redis = Redis.from_url(URL)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.arq = await create_pool(RedisSettings.from_dsn(URL))
    yield


app = FastAPI(lifespan=lifespan)


class Submission(BaseModel):
    task: str
    params: dict[str, Any]


@app.post("/jobs", status_code=202)
async def submit(submission: Submission) -> dict[str, str]:
    job = await app.state.arq.enqueue_job("count", **submission.params)
    return {"id": job.job_id}


@app.get("/stream/{job_id}")
async def stream(job_id: str) -> EventSourceResponse:
    async def events() -> AsyncIterator[dict[str, str]]:
        pubsub = redis.pubsub()
        await pubsub.subscribe(f"job:{job_id}")
        try:
            async for message in pubsub.listen():
                if message["type"] == "message":
                    event = json.loads(message["data"])
                    data = json.dumps(event, separators=(",", ":"))
                    yield {"event": event["type"], "id": str(event["seq"]), "data": data}
                    if event["type"] == "end":
                        break
        finally:
            await pubsub.aclose()

    return EventSourceResponse(events())


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["MILEPOST_PORT"]), log_level="warning", access_log=False
    )
