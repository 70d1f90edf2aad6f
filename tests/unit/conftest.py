"""What the unit tests of reporting share: a job to be in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from milepost.reporting import HERE, Place, Reporter
from tests.support.sinks import Notes


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(Notes())


@pytest.fixture
def here(reporter: Reporter) -> Iterator[Reporter]:
    """Inside a job."""
    token = HERE.set(Place(reporter))
    yield reporter
    HERE.reset(token)


@pytest.fixture
async def here_too(reporter: Reporter) -> AsyncIterator[Reporter]:
    """Inside a job, for tests that are coroutines: anyio runs them in a context of its own."""
    token = HERE.set(Place(reporter))
    yield reporter
    HERE.reset(token)
