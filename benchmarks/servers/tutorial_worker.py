"""The worker of the usual recipe: arq as it comes, progress published by hand."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, ClassVar

from arq import run_worker
from arq.connections import RedisSettings


async def count(ctx: dict[str, Any], steps: int, delay_seconds: float) -> None:
    """Count as demo.count does, and tell the channel."""

    async def tell(seq: int, event: dict[str, Any]) -> None:
        event = {**event, "seq": seq}
        await ctx["redis"].publish(f"job:{ctx['job_id']}", json.dumps(event, separators=(",", ":")))

    await tell(1, {"type": "status", "status": "running"})
    for step in range(steps):
        await asyncio.sleep(delay_seconds)
        await tell(step + 2, {"type": "progress", "current": step + 1, "total": steps})
    await tell(steps + 2, {"type": "end", "status": "succeeded"})


class WorkerSettings:
    functions: ClassVar = [count]
    redis_settings = RedisSettings.from_dsn(os.environ["MILEPOST_REDIS_URL"])


if __name__ == "__main__":
    asyncio.set_event_loop(asyncio.new_event_loop())
    run_worker(WorkerSettings)  # type: ignore[arg-type]
