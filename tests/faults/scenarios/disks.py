"""The disk of the API is full: the kernel refuses whatever it writes, records and log alike."""

from __future__ import annotations

import httpx2

from tests.faults.kinds import PAIR
from tests.faults.rounds import Round
from tests.faults.work import at_work

HOUSE = PAIR


async def disk_full(r: Round) -> None:
    """Submissions are refused with a sentence; what runs goes on and is followed, and recorded when there is space."""
    async with at_work(r):
        await r.moment(0.5, 1.0)
        accepted = [job for job in r.jobs if job.id]
        r.house.fill_disks()
        await r.until(
            lambda: all(job.status in DONE for job in accepted), "what was accepted ends for its readers"
        )
        for url in r.house.stack.urls:
            await _refused(r, url)
        r.house.free_disks()


async def _refused(r: Round, url: str) -> None:
    body = {"task": "f.work", "params": {"job": f"{r.name}#refused", "seconds": 0.1}}
    answer: httpx2.Response = await r.http.post(f"{url}/v1/jobs", json=body)
    problem = answer.json()
    assert answer.status_code == 503, answer.text
    assert problem["detail"].endswith("."), problem
    assert int(answer.headers["Retry-After"]) > 0


DONE = frozenset({"succeeded", "failed", "cancelled", "expired"})
SCENARIOS = (disk_full,)
