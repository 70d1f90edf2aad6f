"""pytest fixtures that come with Milepost. Installing it costs a test session nothing: imports wait for their use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from milepost.testing import TaskRun


@pytest.fixture
def run_task() -> Callable[..., TaskRun]:
    """Run a task without Redis: `run_task(my_task, {"n": 3}).result`; see `milepost.testing.run_task`."""
    from milepost import testing

    return testing.run_task


@pytest.fixture
def run_task_async() -> Callable[..., Awaitable[TaskRun]]:
    """Run a task from a coroutine, without Redis; see `milepost.testing`."""
    from milepost import testing

    return testing.run_task_async
