"""Threads that an event loop keeps, in which the job of whoever asked for them is at home."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

R = TypeVar("R")


class ContextExecutor(ThreadPoolExecutor):
    """The default executor of a worker's loop: `loop.run_in_executor(None, f)` finds its job in `f`.

    asyncio copies the context for `to_thread`, but not for `run_in_executor` (bpo-34014).
    """

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        context = contextvars.copy_context()
        return super().submit(lambda: context.run(fn, *args, **kwargs))
