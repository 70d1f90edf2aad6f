"""Jobs that are submitted at the same time are committed together, and are refused each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from milepost_api.records import (
    Engines,
    IdTaken,
    JobFilter,
    JobRecord,
    JobStore,
    KeyTaken,
    open_engines,
    schema,
)
from milepost_api.records.swift import Writer

from milepost.errors import StoreUnavailable
from milepost.times import utc_now

pytestmark = pytest.mark.anyio


def record(job_id: str, **fields: Any) -> JobRecord:
    return JobRecord(**{"id": job_id, "task": "t", "params": "{}", "created_at": utc_now(), **fields})


async def test_who_comes_during_a_commit_shares_the_next(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty at once are two transactions: one of the first, one of all others. Each is there with its tags."""
    commits = list[object]()
    in_one_go = Engines.in_one_go

    async def counted(self: Engines, work: Callable[[Writer], None]) -> None:
        commits.append(work)
        await in_one_go(self, work)

    monkeypatch.setattr(Engines, "in_one_go", counted)
    await asyncio.gather(*(store.insert(record(f"job{n}", tags=[f"t{n}"])) for n in range(50)))
    assert len(commits) <= 2
    for n in range(50):
        assert [job.id for job in await store.page(JobFilter(tag=f"t{n}"), limit=2)] == [f"job{n}"]


async def test_one_that_is_refused_costs_no_other_its_place(store: JobStore) -> None:
    """A key that is taken, an id that is taken, two of one moment: the rest of the portion is committed."""
    now = utc_now()
    await store.insert(record("first", idempotency_key="k"))
    submitted = (
        *(record(f"same-moment-{n}", created_at=now) for n in range(5)),
        record("other", idempotency_key="k"),
        record("first"),
        record("twin"),
        record("twin"),
    )
    came = await asyncio.gather(*(store.insert(one) for one in submitted), return_exceptions=True)
    assert [type(one) for one in came if one is not None] == [KeyTaken, IdTaken, IdTaken]
    listed = {job.id for job in await store.page(JobFilter(), limit=20)}
    assert listed == {"first", "twin", *(f"same-moment-{n}" for n in range(5))}


async def test_a_request_that_is_given_up_keeps_nobody_waiting(store: JobStore) -> None:
    """Its job is committed all the same, or not; the others' are."""
    given_up = asyncio.create_task(store.insert(record("given-up")))
    others = [asyncio.create_task(store.insert(record(f"job{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(*others)
    assert {f"job{n}" for n in range(5)} <= {job.id for job in await store.page(JobFilter(), limit=20)}


async def test_everybody_hears_that_the_database_is_away(tmp_path: Path) -> None:
    """And the next one tries again."""
    async with open_engines(f"sqlite+aiosqlite:///{tmp_path}/records.db") as engines:
        store = JobStore(engines)  # no table yet
        came = await asyncio.gather(
            *(store.insert(record(f"a{n}")) for n in range(5)), return_exceptions=True
        )
        assert [type(one) for one in came] == [StoreUnavailable] * 5
        await schema.upgrade(engines)
        await store.insert(record("b"))
        assert await store.get("b") is not None
