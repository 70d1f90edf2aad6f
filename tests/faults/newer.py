"""What only the workers of the next release know."""

from __future__ import annotations

import asyncio

from milepost import task
from tests.faults.tasks import witnessed


@task(name="f.newer")
async def newer(job: str) -> str:
    """Run, now that somebody knows how."""
    with witnessed(job) as account:
        account.report(0, 1)
        await asyncio.sleep(0.05)
    return account.digest
