"""`@task(process=True)`: what a worker makes of tasks in processes of their own. Real processes, a real Redis."""

from __future__ import annotations

from tests.support.workers import Fleet

TASKS = "tests.support.tasks.processes"


async def test_smoke(fleet: Fleet) -> None:
    worker = await fleet.worker(TASKS)
    job = await fleet.run("p.where")
    print(job)
    job = await fleet.run("p.everything", {"big": 1000})
    for e in await fleet.events(job.id):
        print(e["type"], {k: v for k, v in e.get("progress", {}).items() if k in ("current","percent","message","steps")}, e.get("message"))
    job = await fleet.run("p.burst", {"seconds": 1})
    print(job)
    print(worker.output())
    assert 0
