"""What the workers offer, kept at hand: a submission is checked without asking Redis each time."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Callable, Mapping

import structlog

from milepost.errors import StoreUnavailable
from milepost.log import Catalogue, TaskInfo
from milepost.redis import UNREACHABLE
from milepost.tasks import TASK_NAME
from milepost_api.params import ParamsCheck
from milepost_api.problems import Problem

FRESH_SECONDS = 2.0
HURRY_SECONDS = 0.2  # a name that is not known is asked for again at most so often
log = structlog.get_logger()


class Offer:
    """One task as it is offered, with its check of params ready."""

    def __init__(self, task: TaskInfo) -> None:
        self.task, self.params = task, ParamsCheck(task)


class Offers:
    """The tasks that workers have announced, at most `fresh_seconds` old; older only while Redis is away."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        fresh_seconds: float = FRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalogue, self._fresh, self._clock = catalogue, fresh_seconds, clock
        self._known: Mapping[str, Offer] | None = None
        self._read_at = 0.0
        self._one_reader = asyncio.Lock()

    async def find(self, name: str, *, unknown_allowed: bool = False) -> Offer:
        """Return the offer of that name. Raises the `unknown-task` problem, naming those there are.

        With `unknown_allowed` a name that a task can have is offered all the same: nothing is known of it.
        """
        offers = await self._at_most(self._fresh)
        if name not in offers:
            offers = await self._at_most(HURRY_SECONDS)  # its worker may have started a moment ago
        if name not in offers and unknown_allowed and TASK_NAME.fullmatch(name):
            return Offer(TaskInfo(name=name, params_schema={}))
        if name not in offers:
            raise _unknown(name, sorted(offers))
        return offers[name]

    async def _at_most(self, age_seconds: float) -> Mapping[str, Offer]:
        async with self._one_reader:
            if self._known is None or self._clock() - self._read_at > age_seconds:
                await self._read()
            assert self._known is not None
            return self._known

    async def _read(self) -> None:
        try:
            tasks = await self._catalogue.tasks()
        except (StoreUnavailable, *UNREACHABLE):
            if self._known is None:
                raise
            log.warning("redis is away; tasks are checked against what was announced before")
        else:
            before = self._known or {}
            self._known = {
                name: before[name] if name in before and before[name].task == task else Offer(task)
                for name, task in tasks.items()
            }
        self._read_at = self._clock()


def _unknown(name: str, known: list[str]) -> Problem:
    near = difflib.get_close_matches(name[:200], known, n=1, cutoff=0.6)
    if not known:
        hint = "No worker has announced any task yet: start one with `milepost worker MODULE`."
    elif near:
        hint = f"Did you mean {near[0]!r}?"
    else:
        hint = f"Known tasks: {', '.join(known[:50])}."
    if not TASK_NAME.fullmatch(name):
        hint = f"No task can have this name: letters, digits, '_', '.' and '-' make one. {hint}"
    return Problem(
        "unknown-task", f"No worker offers a task named {name[:200]!r}. {hint}", known_tasks=known[:200]
    )
