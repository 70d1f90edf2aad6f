"""What the workers offer, kept at hand: a submission is checked without asking Redis each time."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping

import structlog
from redis.exceptions import RedisError

from milepost.errors import StoreUnavailable
from milepost.log import Catalogue, TaskInfo
from milepost.redis import UNREACHABLE
from milepost.tasks import TASK_NAME
from milepost_api.kept import Kept
from milepost_api.params import ParamsCheck
from milepost_api.problems import Problem

FRESH_SECONDS, USABLE_SECONDS = 2.0, 10.0
"""Older than the first it is renewed, older than the second it is waited for."""
HURRY_SECONDS = 0.2
"""For a name that is not known, or params that do not fit, they are asked for again at most so often."""
log = structlog.get_logger()


class Offer:
    """One task as it is offered, with its check of params ready."""

    def __init__(self, task: TaskInfo) -> None:
        self.task, self.params = task, ParamsCheck(task)


class Offers:
    """The tasks that workers have announced, as they were at most 10 s ago; longer ago only while Redis is away."""

    def __init__(
        self, catalogue: Catalogue, *, answer_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalogue = catalogue
        # Half of what a request waits for: where no answer comes there is time for what is known.
        self._kept = Kept(self._read, clock=clock, answer_seconds=answer_seconds / 2)

    async def find(self, name: str, *, unknown_allowed: bool = False, newest: bool = False) -> Offer:
        """Return the offer of that name. Raises the `unknown-task` problem, naming those there are.

        With `unknown_allowed` a name that a task can have is offered all the same: nothing is known of it. `newest`:
        as it was announced a moment ago.
        """
        offers = await (
            self._at_most(HURRY_SECONDS) if newest else self._at_most(FRESH_SECONDS, USABLE_SECONDS)
        )
        if name not in offers:
            offers = await self._at_most(HURRY_SECONDS)  # its worker may have started a moment ago
        if name not in offers and unknown_allowed and TASK_NAME.fullmatch(name):
            return Offer(TaskInfo(name=name, params_schema={}))
        if name not in offers:
            raise _unknown(name, sorted(offers))
        return offers[name]

    async def _at_most(self, age_seconds: float, usable_seconds: float = 0.0) -> Mapping[str, Offer]:
        try:
            return await self._kept.at_most(age_seconds, usable_seconds=usable_seconds)
        except (StoreUnavailable, RedisError, *UNREACHABLE):
            if self._kept.value is None:
                raise
            log.warning("redis is away; tasks are checked against what was announced before")
            return self._kept.value

    async def _read(self) -> Mapping[str, Offer]:
        before = self._kept.value or {}
        return {
            name: before[name] if name in before and before[name].task == task else Offer(task)
            for name, task in (await self._catalogue.tasks()).items()
        }


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
