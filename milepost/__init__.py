"""Milepost: live progress for background jobs.

What a task author imports is here: `task`, `progress`, `Retry`. Clients import `milepost.client`.
Names load on first use, so that a client install needs none of what a worker needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milepost.errors import MemoryLimitExceeded, ProcessDied
    from milepost.reporting import ProgressHandler, Stopped, progress
    from milepost.tasks import Retry, task

__all__ = ["MemoryLimitExceeded", "ProcessDied", "ProgressHandler", "Retry", "Stopped", "progress", "task"]

_HOME = {
    "MemoryLimitExceeded": "milepost.errors",
    "ProcessDied": "milepost.errors",
    "Retry": "milepost.tasks",
    "task": "milepost.tasks",
    "ProgressHandler": "milepost.reporting",
    "Stopped": "milepost.reporting",
    "progress": "milepost.reporting",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'milepost' has no attribute {name!r}")
