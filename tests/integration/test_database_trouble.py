"""The database is away, full, slow or dies in a commit: 503 in time, nothing lost that was accepted, and it goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from milepost_api import database
from milepost_api.records import JobFilter, engine, open_engines
from milepost_api.records.store import JobStore
from milepost_api.records.swift import Swift, Writer
from milepost_api.settings import ApiSettings
from redis.asyncio import Redis
from sqlalchemy import event, text

from milepost.errors import StoreUnavailable
from milepost.log import JobLog
from milepost.log.lifecycle import Lifecycle
from tests.support.api import COUNT, Api, Hand, announce, serving, settings
from tests.support.postgres import PostgresServer
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL that this test may kill."""
    with PostgresServer(tmp_path, survives_kill=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not answered in a second is not answered: the rule is the same, the test is shorter."""
    monkeypatch.setattr(engine, "STATEMENT_SECONDS", 1.0)
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 1.0)


@asynccontextmanager
async def api_on(url: str, folder: Path, redis: Redis, redis_server: RedisServer) -> AsyncIterator[Api]:
    wanted = settings(folder, redis_server.url, database_url=url)
    await database.upgrade(wanted)
    await announce(redis)
    async with serving(wanted) as api:
        yield api


async def submitted(api: Api, **headers: str) -> httpx2.Response:
    return await api.http.post("/v1/jobs", json={"task": COUNT.name, "params": {"steps": 3}}, headers=headers)


async def refused(api: Api) -> None:
    """A submission that is not accepted says so, and when to come back."""
    answer = await submitted(api)
    assert answer.status_code == 503, answer.text
    assert (int(answer.headers["Retry-After"]) > 0, answer.json()["type"].endswith("unavailable")) == (
        True,
        True,
    )


async def is_recorded(store: JobStore, job_id: str) -> bool:
    record = await store.get(job_id)
    return record is not None and record.done


async def test_jobs_that_end_while_postgresql_is_frozen_are_all_recorded(
    tmp_path: Path, redis: Redis, redis_server: RedisServer, server: PostgresServer
) -> None:
    """Submissions are refused in time; jobs go on and end; their events wait in Redis; afterwards all are recorded."""
    async with api_on(server.url, tmp_path, redis, redis_server) as api:
        ids = [(await api.submit())["id"] for _ in range(30)]
        server.pause()
        await refused(api)
        joblog = JobLog(redis)
        for job_id in ids:
            await Hand(joblog).run(job_id)
        assert await Lifecycle(redis, "looker").behind_ms() >= 0
        assert await redis.xlen("mp:lifecycle") >= 2 * len(ids)
        await refused(api)
        server.resume()
        store = api.services.store
        for job_id in ids:
            await eventually(lambda job_id=job_id: is_recorded(store, job_id), "its end is recorded")  # type: ignore[misc]
        assert (await submitted(api)).status_code == 202


async def test_postgresql_is_killed_and_comes_back(
    tmp_path: Path, redis: Redis, redis_server: RedisServer, server: PostgresServer
) -> None:
    """What was accepted is there, dead connections are replaced, and nobody has to restart the API."""
    async with api_on(server.url, tmp_path, redis, redis_server) as api:
        ids = {(await api.submit())["id"] for _ in range(5)}
        server.kill()
        await refused(api)
        server.start()

        async def accepted() -> bool:
            return (await submitted(api)).status_code == 202

        await eventually(accepted, "submissions are accepted again")
        assert ids <= {job.id for job in await api.services.store.page(JobFilter(), limit=100)}


async def test_a_commit_whose_answer_was_lost_is_found_by_its_key(
    tmp_path: Path, redis: Redis, redis_server: RedisServer, server: PostgresServer
) -> None:
    """It may be accepted though it was answered 503: the same request again brings the same job, and it runs once."""
    async with TcpProxy(server.url) as proxy, api_on(proxy.url, tmp_path, redis, redis_server) as api:
        status, tries = 0, 0
        key: dict[str, str] = {}
        while status != 503:  # the commit that was chosen may have been the recorder's
            tries += 1
            key = {"Idempotency-Key": f"k{tries}"}
            proxy.eat_reply_to(b"COMMIT;")
            status = (await submitted(api, **key)).status_code
            assert status in {202, 503}
        assert proxy.eaten > 0
        again = await submitted(api, **key)
        assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (202, "true"), again.text
        job_id = again.json()["id"]

        async def is_there() -> bool:
            [position] = await JobLog(redis).positions([job_id])
            return position is not None

        await eventually(is_there, "the dispatcher brings it to Redis")
        assert (await JobLog(redis).read(job_id)).cursor.seq == 1


async def test_too_many_connections_are_a_503(
    tmp_path: Path, redis: Redis, redis_server: RedisServer, server: PostgresServer
) -> None:
    """PostgreSQL refuses new ones: not an internal error, and over when there is room again."""
    async with api_on(server.url, tmp_path, redis, redis_server) as api:
        store = api.services.store
        async with open_engines(ApiSettings(database_url=server.url).database) as engines:
            async with engines.writer.begin() as connection:
                name = (await connection.execute(text("SELECT current_database()"))).scalar_one()
                await connection.execute(text(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0'))
                await connection.execute(text("CREATE ROLE plain LOGIN"))
                await connection.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain"))
            plain = ApiSettings(database_url=server.url.replace("app@", "plain@")).database
            async with open_engines(plain) as others:
                with pytest.raises(Exception, match="cannot be reached"):
                    await JobStore(others).get("x")
                async with engines.writer.begin() as connection:
                    await connection.execute(text(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1'))
                assert await JobStore(others).get("x") is None
        assert await store.get("x") is None


# --- SQLite ----------------------------------------------------------------------------------------------------------


async def test_a_locked_sqlite_file_is_a_503(
    tmp_path: Path, redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds the lock of the writers: readers go on, submissions are refused, then accepted."""
    monkeypatch.setattr(engine, "SQLITE_BUSY_SECONDS", 0.2)
    async with api_on(f"sqlite:///{tmp_path}/r.db", tmp_path, redis, redis_server) as api:
        job = await api.submit()
        with closing(
            sqlite3.connect(tmp_path / "r.db", isolation_level=None, timeout=30, check_same_thread=False)
        ) as other:
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            await refused(api)
            assert (await api.get(f"/v1/jobs/{job['id']}"))["id"] == job["id"]
            other.execute("ROLLBACK")

        async def accepted() -> bool:
            return (await submitted(api)).status_code == 202

        await eventually(accepted, "submissions are accepted again")


async def test_a_full_disk_under_sqlite_says_so_and_ends(
    tmp_path: Path, redis: Redis, redis_server: RedisServer
) -> None:
    """The sentence names the disk. What was accepted stays; jobs that end meanwhile are recorded when there is room."""
    async with api_on(f"sqlite:///{tmp_path}/r.db", tmp_path, redis, redis_server) as api:
        job = await api.submit()
        await limit_pages(api, 1)
        answer = await submitted_until_full(api)
        assert "disk" in answer.json()["detail"], answer.text
        await Hand(JobLog(redis)).run(job["id"], '"' + "x" * 100_000 + '"')
        assert not await is_recorded(api.services.store, job["id"])
        await limit_pages(api, 1_000_000_000)
        await eventually(lambda: is_recorded(api.services.store, job["id"]), "its end is recorded")
        assert (await submitted(api)).status_code == 202


async def limit_pages(api: Api, most: int) -> None:
    """Let the file grow no further (SQLite takes its present size where it is larger)."""
    driver: Any
    async with api.services.engines.writer.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"PRAGMA max_page_count={most}")

    def limit(writer: Writer) -> None:
        assert isinstance(writer, Swift)
        writer.execute(f"PRAGMA max_page_count={most}")

    await api.services.engines.in_one_go(limit)  # each connection has its own


async def submitted_until_full(api: Api) -> httpx2.Response:
    for _ in range(200):
        body = {"task": COUNT.name, "params": {"steps": 3, "note": "x" * 50_000}}
        answer = await api.http.post("/v1/jobs", json=body)
        if answer.status_code != 202:
            assert answer.status_code == 503, answer.text
            return answer
    raise AssertionError("the file has grown without end")


async def test_a_driver_that_has_lost_its_way_loses_its_connection(postgres_url: str) -> None:
    """What asyncpg says when a connection was cut in mid-answer is no refusal of what was asked, and no bug of ours."""
    pid = text("SELECT pg_backend_pid()")
    async with open_engines(postgres_url) as engines:
        store, pool = JobStore(engines), engines.writer.sync_engine
        async with engines.writer.connect() as connection:
            before = await connection.scalar(pid)

        def confuse(*_: Any) -> None:
            event.remove(pool, "before_cursor_execute", confuse)
            dbapi: Any = pool.dialect.dbapi
            raise dbapi.InternalClientError(
                "cannot switch to state 12; another operation (2) is in progress", None
            )

        event.listen(pool, "before_cursor_execute", confuse)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await store.ping()
        async with engines.writer.connect() as connection:
            assert await connection.scalar(pid) != before
