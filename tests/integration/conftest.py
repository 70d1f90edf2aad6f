"""Fixtures of the tests with real databases and real worker processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from milepost_api import database
from milepost_api.records import Engines, JobStore, open_engines, schema
from redis.asyncio import Redis

from milepost.background import end
from tests.support.api import Api, Hand, announce, serving, settings
from tests.support.leftovers import open_connections, running_tasks
from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.workers import TASKS, Fleet


@pytest.fixture
async def nothing_is_left() -> AsyncIterator[None]:
    """The test ends its tasks and closes its connections to Redis. What it left fails it alone: it is ended here."""
    tasks, connections = running_tasks(), open_connections()
    yield
    left = running_tasks() - tasks
    await end(*left)
    assert left == set()
    assert open_connections() - connections == set()


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> None:
    """In a loop that many tests share, what one of them leaves would live on, and fail another."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("nothing_is_left")


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database: each test that wants it runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/records.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def engines(database_url: str) -> AsyncIterator[Engines]:
    """Connections to it; it holds no tables yet."""
    async with open_engines(database_url) as opened:
        yield opened


@pytest.fixture
async def store(engines: Engines) -> JobStore:
    """The records of jobs, in tables."""
    await schema.upgrade(engines)
    return JobStore(engines)


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> AsyncIterator[Api]:
    """An API without keys, on SQLite."""
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url)) as running:
        yield running


@pytest.fixture
async def api_of_two(
    tmp_path: Path, redis_server: RedisServer, redis: Redis, database_url: str
) -> AsyncIterator[Api]:
    """An API of two tenants, on both databases. Its client has our key; `Bearer theirs` is that of the other one."""
    await announce(redis)
    keys = "ours,rivals:theirs"
    wanted = settings(tmp_path, redis_server.url, database_url=database_url, api_keys=keys)
    await database.upgrade(wanted)
    async with serving(wanted) as running:
        running.http.headers["Authorization"] = "Bearer ours"
        yield running


@pytest.fixture
def hand(api: Api) -> Hand:
    """What plays the worker of that API."""
    return Hand(api.services.log)


@pytest.fixture
async def fleet(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Fleet]:
    """No worker yet; those that the test starts are killed after it."""
    fleet = Fleet(redis, redis_server.url, tmp_path)
    yield fleet
    for worker in fleet.workers:
        worker.kill()


@pytest.fixture(scope="module")
def patient_worker(
    redis_servers: Callable[[str], RedisServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """One worker for all tests of a module that do it no harm."""
    folder = tmp_path_factory.mktemp("worker")
    settings = {"MILEPOST_REDIS_URL": redis_servers("embedded").url, "MILEPOST_STOP_GRACE_SECONDS": "1"}
    with Process.python(
        "worker", "-m", "milepost_worker", TASKS, log=folder / "worker.log", settings=settings
    ) as process:
        process.wait_until(lambda: "worker.ready" in process.output())
        yield process


@pytest.fixture
def shared(redis: Redis, redis_server: RedisServer, tmp_path: Path, patient_worker: Process) -> Fleet:
    """An empty Redis and that worker."""
    Process.seen.append(patient_worker)  # what it says belongs into the report of this test, too
    patient_worker.check_alive()
    return Fleet(redis, redis_server.url, tmp_path)


@pytest.fixture(scope="module")
def process_worker(
    redis_servers: Callable[[str], RedisServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """The same for tasks in processes of their own."""
    settings = {
        "MILEPOST_REDIS_URL": redis_servers("embedded").url,
        "MILEPOST_STOP_GRACE_SECONDS": "1",
        "MILEPOST_PROCESS_MEMORY_LIMIT_MB": "400",
        "MILEPOST_RESULT_LIMIT_BYTES": str(64 << 20),
        "MILEPOST_CAPTURE_LOGS_LEVEL": "warning",
    }
    log = tmp_path_factory.mktemp("processes") / "worker.log"
    argv = ("-m", "milepost_worker", "tests.support.tasks.processes")
    with Process.python("processes", *argv, log=log, settings=settings) as process:
        process.wait_until(lambda: "worker.ready" in process.output())
        yield process


@pytest.fixture
def processes(redis: Redis, redis_server: RedisServer, tmp_path: Path, process_worker: Process) -> Fleet:
    """An empty Redis and that worker."""
    if process_worker not in Process.seen:
        Process.seen.append(process_worker)
    process_worker.check_alive()
    return Fleet(redis, redis_server.url, tmp_path)
