"""What lists show, in which order, and how many there are: the same on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from milepost_api.records import Engines, JobFilter, JobRecord, JobStore, schema, search
from sqlalchemy import delete, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost.job import Status

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 5, 6, 7, 8, 9, 123456, UTC)


class Shelf:
    """Puts jobs into the records, a second apart, and looks for them."""

    def __init__(self, store: JobStore) -> None:
        self.store, self._at = store, NOW

    async def put(self, job_id: str, **fields: Any) -> None:
        self._at += timedelta(seconds=1)
        given: dict[str, Any] = {"task": "t", "params": "{}", "created_at": self._at, **fields}
        await self.store.insert(JobRecord(id=job_id, **given))

    async def found(self, **wanted: Any) -> list[str]:
        return [one.id for one in await self.store.page(JobFilter(**wanted), limit=10)]

    async def counts(self, **wanted: Any) -> dict[str, int]:
        counts = await self.store.counts(JobFilter(**wanted))
        assert not counts.capped
        return {status: jobs for status, jobs in counts.by_status.items() if jobs}


@pytest.fixture
def shelf(store: JobStore) -> Shelf:
    return Shelf(store)


async def test_every_filter_alone_and_with_every_other(shelf: Shelf) -> None:
    """What is given must all hold, whichever index answers; a count agrees with its list."""
    fields: dict[str, tuple[str, Any]] = {
        "status": ("statuses", ("failed",)),
        "task": ("task", "import"),
        "queue": ("queue", "big"),
        "tags": ("tag", "red"),
        "batch_id": ("batch", "b1"),
    }
    right: dict[str, Any] = {"status": "failed", "task": "import", "queue": "big", "tags": ["blue", "red"]}
    right["batch_id"] = "b1"
    wrong: dict[str, Any] = {"status": "queued", "task": "other", "queue": "small", "tags": ["blue"]}
    names = list(fields)
    for number in range(2 ** len(names)):
        has = {name: (right if number >> place & 1 else wrong).get(name) for place, name in enumerate(names)}
        await shelf.put(f"job{number:02}", **has)

    for number in range(2 ** len(names)):
        given = [name for place, name in enumerate(names) if number >> place & 1]
        wanted = dict(fields[name] for name in given)
        matching = [f"job{other:02}" for other in range(2 ** len(names)) if other & number == number]
        page = await shelf.store.page(JobFilter(**wanted), limit=100)
        assert [one.id for one in page] == matching[::-1], given
        upwards = await shelf.store.page(JobFilter(**wanted, oldest_first=True, text="job"), limit=100)
        assert [one.id for one in upwards] == matching, given
        assert sum((await shelf.counts(**wanted)).values()) == len(matching), given
        assert sum((await shelf.counts(**wanted, text="JOB")).values()) == len(matching), given


async def test_pages_join_while_jobs_come_and_go(shelf: Shelf) -> None:
    """Jobs of ids in any order, one deleted between two pages, one added: none twice, none left out."""
    ids = ["m", "a", "z", "B", "-", "_0", "019c", "zz"]
    for job_id in ids:
        await shelf.put(job_id, status="failed" if job_id in "az" else "queued")

    seen: list[str] = []
    after = None
    while page := await shelf.store.page(JobFilter(after=after), limit=3):
        seen += [one.id for one in page]
        after = page[-1].sort_key
        await shelf.put(f"new{len(seen)}")
        async with shelf.store._write() as session:
            await session.execute(delete(JobRecord).where(JobRecord.__table__.c.id == page[-1].id))  # type: ignore[attr-defined]
    assert seen == ids[::-1]


async def test_jobs_of_one_moment_have_a_place_each(store: JobStore) -> None:
    """Fifty at once, accepted in the same microsecond: every page limit gives all of them once."""
    jobs = [JobRecord(id=f"j{n}", task="t", params="{}", created_at=NOW) for n in range(50)]
    await asyncio.gather(*(store.insert(job) for job in jobs))

    seen: list[str] = []
    after = None
    while page := await store.page(JobFilter(oldest_first=True, after=after), limit=7):
        seen += [one.id for one in page]
        after = page[-1].sort_key
    assert sorted(seen) == sorted(job.id for job in jobs)
    assert len(seen) == 50


async def test_a_range_begins_at_its_first_moment_and_ends_before_its_last(shelf: Shelf) -> None:
    """To the microsecond, in any zone."""
    for number in range(4):
        await shelf.put(f"j{number}", created_at=NOW + timedelta(microseconds=number))
    begin, end = NOW + timedelta(microseconds=1), NOW + timedelta(microseconds=3)
    assert await shelf.found(created_after=begin, created_before=end) == ["j2", "j1"]
    assert await shelf.found(created_after=end, statuses=("queued", "failed")) == ["j3"]
    assert await shelf.counts(created_before=begin) == {"queued": 1}


async def test_tenants_do_not_see_each_other(shelf: Shelf) -> None:
    """Neither in lists, nor in counts, nor by text or tag."""
    await shelf.put("mine", tags=["red"])
    await shelf.put("theirs", tenant="other", tags=["red"])
    for wanted in (
        {},
        {"tag": "red"},
        {"text": "red"},
        {"statuses": ("queued",)},
        {"task": "t", "queue": "default"},
    ):
        assert await shelf.found(**wanted) == ["mine"]
        assert await shelf.found(**wanted, tenant="other") == ["theirs"]
        assert await shelf.counts(**wanted, tenant="other") == {"queued": 1}


async def test_text_is_found_wherever_it_stands(shelf: Shelf) -> None:
    """In every part that is looked at, folded, as typed: wildcards and quotes are nothing special."""
    await shelf.put(
        "job-One",
        task="import.Orders",
        queue="night",
        batch_id="b-77",
        tags=["user:1", "100%"],
        meta={"City": {"name": ["Zürich", 'say "hi"', 12345, True]}, "nul": "a\0b"},
        error={"type": "ValueError", "message": "Row 7_8\nis 'broken' \ud800"},
        progress={"message": "Last wörds"},
    )
    await shelf.put("job-Two", task="import.Users")
    for text_ in (
        *(
            "b-one",
            "IMPORT.ORD",
            "nigh",
            "b-77",
            "ser:1",
            "00%",
            "city",
            "ZÜRICH",
            "zu\u0308rich",
            'say "hi"',
        ),
        *("2345", "true", "valueerr", "7_8", "'broken'", "last WÖRDS"),
    ):
        assert await shelf.found(text=text_) == ["job-One"], text_
    assert await shelf.found(text="import") == ["job-Two", "job-One"]
    for text_ in ("7x8", "10_%", "orders night", "***", "%%%", "\x02fa", "nothing", '""" OR', "x AND y"):
        assert await shelf.found(text=text_) == [], text_


async def test_text_follows_what_becomes_of_a_job(shelf: Shelf, engines: Engines) -> None:
    """An error is found when it is recorded, by any index; a job that is deleted is not."""
    await shelf.put("a", tags=["red"])

    def fail(records: Any) -> None:
        records["a"].status, records["a"].done = "failed", True
        records["a"].error = {"message": "Out of cheese"}

    await shelf.store.change(["a"], fail)
    assert await shelf.found(text="cheese", statuses=("failed",), tag="red") == ["a"]
    assert await shelf.found(tag="red", statuses=("queued",)) == []
    assert await shelf.counts(tag="red") == {"failed": 1}
    assert await indexed(engines, JobFilter(text="cheese", statuses=("failed",))) == 1
    async with shelf.store._write() as session:
        await session.execute(delete(JobRecord))
    assert await indexed(engines, JobFilter(text="cheese")) == 0
    assert await shelf.found(text="cheese") == await shelf.found(tag="red") == []


async def test_statuses_that_are_changed_by_any_statement_reach_the_tags(shelf: Shelf) -> None:
    """The database itself keeps them level, so that no code can forget it."""
    await shelf.put("a", tags=["red", "blue"])
    async with shelf.store._write() as session:
        await session.execute(update(JobRecord).values(status="cancelled"))
    assert await shelf.found(tag="blue", statuses=("cancelled",)) == ["a"]


async def test_text_beyond_the_first_jobs_is_found_by_the_index(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list goes on in order from the jobs that were read to those that the index finds, with all filters."""
    monkeypatch.setattr(search, "WINDOW", 2)
    for number in range(12):
        status = "failed" if number % 2 else "succeeded"
        tags, error = (["red"], {"message": "odd one"}) if number % 4 == 1 else ([], None)
        await shelf.put(f"j{number:02}", status=status, tags=tags, error=error, batch_id="b", queue="que")

    odd = ["j09", "j05", "j01"]
    assert await shelf.found(text="odd one") == odd
    assert await shelf.found(text="odd one", oldest_first=True) == odd[::-1]
    assert await shelf.found(text="odd one", statuses=("failed",), tag="red", batch="b", queue="que") == odd
    assert await shelf.found(text="odd one", statuses=("succeeded",)) == []
    assert await shelf.found(text="odd one", statuses=("queued", "failed"), task="t") == odd
    assert await shelf.found(text="odd one", created_before=NOW + timedelta(seconds=9)) == odd[1:]
    [first] = await shelf.store.page(JobFilter(text="odd one"), limit=1)
    assert await shelf.found(text="odd one", after=first.sort_key) == odd[1:]
    monkeypatch.setattr(search, "COMMON", 1.1)
    assert await shelf.counts(text="odd one") == {"failed": 3}
    assert await shelf.counts(text="odd one", statuses=("succeeded",)) == {}
    monkeypatch.setattr(search, "COMMON", 0)
    common = await shelf.store.counts(JobFilter(text="j1"))
    assert common.by_status == {"failed": 1, "succeeded": 1}
    assert common.capped == {status.value for status in Status}
    some = await shelf.store.counts(JobFilter(text="j1", statuses=("failed", "expired")))
    assert some.capped == {"failed", "expired"}  # none was seen expired: there may be some further back


async def test_counts_say_where_they_stopped(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is only a least number is told from one that is exact."""
    monkeypatch.setattr("milepost_api.records.store.COUNTED_MOST", 2)
    monkeypatch.setattr("milepost_api.records.listing.counts_query.__defaults__", (2,))
    for number, status in enumerate(("failed", "failed", "queued", "queued", "queued")):
        await shelf.put(f"j{number}", status=status)
    counts = await shelf.store.counts(JobFilter())
    assert {status: jobs for status, jobs in counts.by_status.items() if jobs} == {"failed": 2, "queued": 2}
    assert counts.capped == {"queued"}
    assert set(counts.by_status) == {status.value for status in Status}


async def test_a_migration_fills_what_it_adds(shelf: Shelf, engines: Engines) -> None:
    """Jobs of an older version are found, in the order of their acceptance, by all filters; also after a way back."""
    await shelf.put("b", tags=["red"], status="failed", error={"message": "Zürich \0 broke"})
    await shelf.put("a", meta={"k": "vvv"}, tags=["red"], created_at=NOW)
    await shelf.put("c", created_at=NOW)
    await schema.downgrade(engines, "0002")
    async with engines.writer.begin() as connection:
        await connection.execute(text("UPDATE jobs SET batch_id = 'bbb' WHERE id = 'c'"))
    await schema.upgrade(engines)
    await schema.check(engines)

    assert await shelf.found() == ["b", "c", "a"]
    assert await shelf.found(tag="red", statuses=("failed",)) == ["b"]
    assert await shelf.found(text="ZÜRICH") == ["b"]
    assert await indexed(engines, JobFilter(text="zürich", statuses=("failed",))) == 1
    assert await shelf.found(text="vvv") == ["a"]
    assert await shelf.found(text="bbb") == await shelf.found(batch="bbb") == ["c"]
    await shelf.put("d", tags=["red"])
    assert await shelf.found(text="red") == ["d", "b", "a"]


async def test_triggers_are_put_back_when_a_migration_makes_the_table_anew(
    store: JobStore, engines: Engines
) -> None:
    """Any later migration may do that on SQLite, and need not know of them."""
    await schema.downgrade(engines, "0003")
    async with engines.writer.begin() as connection:
        for name in ("jobs_search_insert", "jobs_search_update", "jobs_status_update"):
            on = " ON jobs" if engines.writer.dialect.name == "postgresql" else ""
            await connection.execute(text(f"DROP TRIGGER {name}{on}"))
    await schema.upgrade(engines)
    shelf = Shelf(store)
    await shelf.put("a", tags=["red"])
    assert await indexed(engines, JobFilter(text="red")) == 1


async def test_a_tag_goes_with_its_job(shelf: Shelf, engines: Engines) -> None:
    """Deleting a job leaves nothing behind."""
    await shelf.put("a", tags=["red"])
    async with shelf.store._write() as session:
        await session.execute(delete(JobRecord))
    assert await rows(engines.reader, "SELECT count(*) FROM job_tags") == 0


async def indexed(engines: Engines, wanted: JobFilter) -> int:
    """Return how many jobs the index of trigrams finds, before anything is looked up."""
    query = search.indexed_query(engines.reader.dialect.name, wanted)
    async with engines.reader.connect() as connection:
        return len((await connection.execute(query)).all())


async def rows(engine: AsyncEngine, statement: str) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text(statement))).scalar()
