"""What a test leaves behind: seen in the test that left it, and not in a later one that frees the memory."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

from redis.asyncio.connection import AbstractConnection

NOT_OURS = ("TestRunner.", "_shutdown_watcher")
"""What runs fixtures and tests, and what sse-starlette starts with the first stream of a loop and never ends."""

_connections: WeakSet[AbstractConnection] = WeakSet()
_make = AbstractConnection.__init__


def _made(self: AbstractConnection, *args: Any, **kwargs: Any) -> None:
    _make(self, *args, **kwargs)
    _connections.add(self)


AbstractConnection.__init__ = _made  # type: ignore[method-assign]


def open_connections() -> set[AbstractConnection]:
    """Return every connection of redis-py in this process that was opened and not closed."""
    return {connection for connection in _connections if connection.is_connected}


def running_tasks() -> set[asyncio.Task[Any]]:
    """Return the tasks of this loop."""
    return {task for task in asyncio.all_tasks() if not _name(task).startswith(NOT_OURS)}


def _name(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", ""))
