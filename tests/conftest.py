"""Fixtures over real parts. A test that cannot have its part fails: a skip would hide it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import settings
from redis.asyncio import Redis

from milepost.log import JobLog
from milepost.redis import connect
from tests.support.browser import launched_chromium
from tests.support.postgres import PostgresServer, new_database
from tests.support.process import Process
from tests.support.redis import RedisServer, binaries
from tests.support.stack import Stack

if TYPE_CHECKING:
    from playwright.async_api import Browser

# Times on a shared machine say nothing: an example may take as long as it takes.
settings.register_profile("milepost", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("milepost")

# With Rich installed, the default would show the locals of every frame: many seconds for each traceback of the API's.
_PLAIN = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it starts in the background ignore Ctrl-C, and so would every process that these tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Milepost runs on asyncio: uvicorn, arq and redis-py do."""
    return "asyncio"


# --- parts ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RedisServer]]:
    """One process of each kind (`embedded`, `ordinary`), started when first asked for."""
    with ExitStack() as running:
        servers: dict[str, RedisServer] = {}

        def server(kind: str) -> RedisServer:
            if kind not in servers:
                new = RedisServer(tmp_path_factory.mktemp(f"redis-{kind}"), binary=binaries()[kind])
                servers[kind] = running.enter_context(new)
            return servers[kind]

        yield server


@pytest.fixture
def redis_kind() -> str:
    """Which server a test gets; a suite for all of them parametrizes this (see `binaries`)."""
    return "embedded"


@pytest.fixture
def redis_server(redis_servers: Callable[[str], RedisServer], redis_kind: str) -> RedisServer:
    """A server that runs and is empty. The test may stop, kill or freeze it."""
    server = redis_servers(redis_kind)
    server.clean()
    return server


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of that server, made the way Milepost makes its own."""
    client = connect(redis_server.url)
    yield client
    await client.aclose()


@pytest.fixture
def joblog(redis: Redis) -> JobLog:
    """The log of jobs there."""
    return JobLog(redis)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL on which databases may be created; TEST_DATABASE_URL wins."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server.url


@pytest.fixture
async def postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """The URL of an empty database, dropped after the test."""
    async with new_database(postgres_server) as url:
        yield url


@pytest.fixture
async def stack(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Callable[..., Awaitable[Stack]]]:
    """Start the service: `running = await stack(workers=2, settings={…})`; see `Stack`."""
    started: list[Stack] = []

    async def start(**options: Any) -> Stack:
        folder = tmp_path / f"stack-{len(started) + 1}"
        folder.mkdir()
        running = await Stack(folder, options.pop("redis", redis_server), **options).__aenter__()
        started.append(running)
        return running

    yield start
    for running in reversed(started):
        await running.__aexit__()


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium, driven by Playwright; `await chromium.new_page()`."""
    async with launched_chromium() as browser:
        yield browser


# --- reports -------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the processes of a failed test said; in CI a skip is a failure."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    _refuse_skip(report)
    if report.failed:
        report.sections.extend((f"output of {p.name} ({p.log})", p.fresh_output()) for p in Process.seen)
    if report.when == "teardown":
        Process.seen[:] = [process for process in Process.seen if process.alive]
        for process in Process.seen:
            process.mark()
    return report  # type: ignore[return-value]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """A whole file that is skipped is no better."""
    report: pytest.CollectReport = yield  # type: ignore[assignment]
    _refuse_skip(report)
    return report  # type: ignore[return-value]


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"Skipped in CI, where every test has what it needs: {report.longrepr}"
