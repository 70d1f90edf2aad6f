"""One service and one browser for the tests of a file: they only ever look at their own jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from milepost.log import JobLog
from milepost.redis import connect
from tests.support.alone import LONE_SETTINGS, WRITERS, Alone, alone
from tests.support.browser import launched_chromium
from tests.support.middlebox import Middlebox
from tests.support.redis import RedisServer
from tests.support.stack import BUILTIN_TASKS, Stack
from tests.support.stage import Stage, staged

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A service that runs as long as the tests of this file; for tests that break nothing."""
    folder = tmp_path_factory.mktemp("house")
    modules = (BUILTIN_TASKS, "tests.support.page_tasks")
    with RedisServer(folder / "redis") as redis:
        async with Stack(
            folder,
            redis,
            modules=modules,
            settings={"MILEPOST_CONCURRENCY": "20", "MILEPOST_LOG_LEVEL": "info"},
        ) as stack:
            yield stack


@pytest.fixture
async def house_log(house: Stack) -> AsyncIterator[JobLog]:
    """The log of jobs of `house`, also of one that a file has made for itself: its tests play the worker."""
    async with connect(house.redis.url) as redis:
        yield JobLog(redis)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium for the tests of this file; every test has a profile of its own."""
    async with launched_chromium() as running:
        yield running


@pytest.fixture(scope="session")
def files_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tasks of `service` may read."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory, files_root: Path) -> AsyncIterator[Stack]:
    """Two APIs and a worker for all tests of streams: built-in tasks and those of `tests.support.tasks.played`."""
    folder = tmp_path_factory.mktemp("service")
    settings = {
        "MILEPOST_FILES_ROOT": str(files_root),
        "MILEPOST_CONCURRENCY": "20",
        "MILEPOST_LOG_LEVEL": "info",
    }
    modules = (BUILTIN_TASKS, "tests.support.tasks.played")
    with RedisServer(folder / "redis") as redis:
        async with Stack(folder, redis, apis=2, modules=modules, settings=settings) as running:
            yield running


@pytest.fixture(scope="session", params=sorted(WRITERS))
async def lone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Alone]:
    """One API for all tests of pitfalls, which leave nothing behind; once for every way to write streams."""
    settings = {**LONE_SETTINGS, **WRITERS[request.param]}
    async with alone(tmp_path_factory.mktemp("alone"), settings) as running:
        yield running


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """An API in this process, for pages that follow the jobs which the test plays."""
    async with staged(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture
async def box(stage: Stage) -> AsyncIterator[Middlebox]:
    """What is between a page and the API of `stage`; it serves the page as well."""
    async with stage.box() as between:
        yield between
