"""From what a task reports to one honest `Progress`: steps, weights, percent, rate, ETA. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

from milepost.job import Progress, StepRef
from milepost.job import Step as StepView
from milepost.reporting.estimator import Estimator

PERCENT_BEFORE_SUCCESS = 99.9

MOST_STEPS = 50
"""How many are shown, and how many that have ended are kept: a task may make a step for each of a million items."""


class Step:
    """One place in the tree of steps; the root is the job itself. Written by the task, read by the meter.

    Plain attributes, no lock: a reader may see a `current` without its `total` for an instant, and what it
    sends next is right again. That buys reports that cost well under a microsecond.
    """

    __slots__ = (
        "_ended",
        "_left",
        "_names",
        "_spent",
        "_unplanned",
        "children",
        "counted",
        "current",
        "done",
        "failed",
        "key",
        "left",
        "loop",
        "loops",
        "name",
        "number",
        "pace",
        "parent",
        "plan",
        "share",
        "total",
        "unit",
        "weight",
    )

    def __init__(
        self, key: str, name: str, weight: float = 1.0, parent: Step | None = None, number: int = 0
    ) -> None:
        self.key, self.name, self.weight, self.parent, self.number = key, name, weight, parent, number
        self.current: float | None = None
        self.total: float | None = None
        self.share: float | None = None
        """The fraction as the task says it, where the counts do not."""
        self.unit: str | None = None
        self.children: list[Step] = []
        self.plan: dict[str, float] = {}
        self.pace = Estimator()
        self.done = self.failed = self.left = False
        self.counted = False
        """Whether a loop counts its items here at the moment."""
        self.loop = False
        """Whether this is no part that somebody named, but a loop inside of another."""
        self.loops = 0
        """How many loops have counted here, one after the other."""
        self._spent: float | None = None
        self._left: Step | None = None
        self._names: dict[str, int] = {}
        self._unplanned = self._ended = 0

    def begin(self, name: str, weight: float) -> Self:
        """Open a step below this one. A name that was used before gets a key of its own: `name-2`."""
        times = self._names.get(name, 0) + 1
        key = name if times == 1 else f"{name}-{times}"
        while times > 1 and key in self._names:  # another step has that very name
            times += 1
            key = f"{name}-{times}"
        self._names[name] = times
        self._names.setdefault(key, 1)
        self.settle(succeeded=True)
        child = type(self)(key, name, weight, self, self._ordinal(key))
        self.children.append(child)
        return child

    def end(self, child: Step) -> None:
        """Close `child`. What is kept of those that have ended is bounded."""
        child.children = []
        if not self.shows(child):
            self.children.remove(child)  # a loop that counts its items: the count remembers it
        elif child.left:
            self.settle(succeeded=True)
            self._left = child
        self._ended += 1
        if self._ended > 2 * MOST_STEPS:
            self._forget()

    def settle(self, *, succeeded: bool) -> None:
        """Say now what became of a loop that was left early: by `break`, if things went on well; else it failed."""
        if self._left is not None:
            self._left.left, self._left.done, self._left.failed = False, succeeded, not succeeded
            self._left = None

    def takes_loop(self, name: str) -> bool:
        """Whether the loop `name` may count here, and not on a step of its own below.

        Not while something else counts here, nor when `name` is planned. What a loop before it has left behind
        is free to be taken.
        """
        if self.counted or name in self.plan:
            return False
        return bool(self.plan) or self.total is None or self.total == self._spent

    def begin_loop(self) -> None:
        self.counted = True
        self.current = self.total = self.unit = None

    def end_loop(self) -> None:
        self.counted, self._spent = False, self.total
        self.loops += 1

    def shows(self, child: Step) -> bool:
        """Whether `child` is a part that readers are shown, not something inside one item of a loop."""
        return not self.hides(child) and (bool(self.plan) or (self.total is None and not self.counted))

    def hides(self, child: Step) -> bool:
        """Whether `child` is a loop beside the parts that are planned."""
        return bool(self.plan) and child.loop and child.key not in self.plan

    def fraction(self) -> float | None:
        """Return 0–1, or None as long as nobody can know."""
        if self.done:
            return 1.0
        if self.plan:
            return self._planned_fraction()
        if self.share is not None:
            return min(1.0, max(0.0, self.share))
        if not self.total or self.total < 0:
            return 0.0 if self.total == 0 else None
        # Steps inside the items of a counted loop move the bar between two counts.
        inside = sum(child.fraction() or 0.0 for child in self.children if child.runs)
        return min(1.0, max(0.0, ((self.current or 0.0) + inside) / self.total))

    @property
    def runs(self) -> bool:
        return not (self.done or self.failed or self.left)

    def skipped(self) -> set[str]:
        """Return the planned steps that were passed over: another branch was taken, and a later one has begun."""
        begun = {child.key for child in self.children}
        keys = list(self.plan)
        last = max((at for at, key in enumerate(keys) if key in begun), default=0)
        return {key for key in keys[:last] if key not in begun}

    def _planned_fraction(self) -> float:
        passed = self.skipped()
        weights = {key: weight for key, weight in self.plan.items() if key not in passed}
        moved = 0.0
        for child in tuple(self.children):
            weight = weights.setdefault(child.key, child.weight)
            moved += weight * (child.fraction() or 0.0)
        whole = sum(weights.values())
        return min(1.0, moved / whole) if whole > 0 else 0.0

    def _forget(self) -> None:
        ended = [child for child in self.children if not child.runs and child.key not in self.plan]
        old = set(map(id, ended[:-MOST_STEPS]))
        self.children = [child for child in self.children if id(child) not in old]
        kept = {name for child in self.children for name in (child.name, child.key)}
        self._names = {name: times for name, times in self._names.items() if name in kept}
        self._ended = len(ended) - len(old)

    def _ordinal(self, key: str) -> int:
        if key in self.plan:
            return list(self.plan).index(key) + 1
        self._unplanned += 1
        return len(self.plan) + self._unplanned


class Meter:
    """Reads the tree of one attempt. `percent` never falls and stays below 100 until `finish`."""

    def __init__(self, plan: Mapping[str, float] | None = None) -> None:
        self.root = Step("", "")
        self.root.plan = dict(plan or {})
        self.focus = self.root
        """The step that reported last: its counts are the ones to show."""
        self.message: str | None = None
        self._fraction: float | None = None
        self._speed = Estimator()

    def read(self, now: float, updated_at: str | None = None) -> Progress:
        """Return the progress as of `now` (seconds, monotonic)."""
        counts, fraction = self._counts(), self._monotonic()
        return Progress(
            current=counts.current,
            total=counts.total,
            unit=counts.unit,
            percent=None if fraction is None else min(PERCENT_BEFORE_SUCCESS, _percent(fraction)),
            message=self.message,
            step=self._step(),
            steps=self._steps(),
            rate=_rounded(self._rate(now, counts)),
            eta_seconds=_rounded(self._eta(now, fraction)),
            updated_at=updated_at,
        )

    def finish(self, now: float, *, succeeded: bool, updated_at: str | None = None) -> Progress:
        """Return the last progress: 100 % after success, frozen where it stood otherwise."""
        self.root.settle(succeeded=succeeded)
        last = self.read(now, updated_at)
        return Progress(
            current=last.current,
            total=last.total,
            unit=last.unit,
            percent=100.0 if succeeded else last.percent,
            message=last.message,
            step=last.step,
            steps=last.steps,
            updated_at=updated_at,
        )

    def _counts(self) -> Step:
        """Return the step whose counts to show: inside an item of a counted loop those of the loop."""
        step = self.focus
        while step.current is None and step.total is None and step.parent is not None:
            step = step.parent
        return step

    def _monotonic(self) -> float | None:
        fraction = self.root.fraction()
        if fraction is not None:
            self._fraction = max(self._fraction or 0.0, fraction)
        return self._fraction

    def _rate(self, now: float, counts: Step) -> float | None:
        if counts.current is not None:
            counts.pace.observe(now, counts.current)
        return counts.pace.rate(now)

    def _eta(self, now: float, fraction: float | None) -> float | None:
        if fraction is None:
            return None
        self._speed.observe(now, fraction)
        speed = self._speed.rate(now)
        # One loop after the other, or all is counted and the task goes on: nobody knows for how long.
        if not speed or fraction >= 1 or (self.root.loops + self.root.counted > 1 and not self.root.plan):
            return None
        return (1.0 - fraction) / speed

    def _step(self) -> StepRef | None:
        step = self.focus
        while step.parent is not None and step.parent is not self.root:
            step = step.parent
        if step.parent is None or self.root.hides(step):
            return None
        plan = self.root.plan
        shown = [child for child in (*self.root.children, step) if not self.root.hides(child)]
        count = max(len(plan), *(child.number for child in shown)) if plan else None
        return StepRef(key=step.key, name=step.name, index=step.number, count=count)

    def _steps(self) -> tuple[StepView, ...]:
        begun = {child.key: child for child in self.root.children if not self.root.hides(child)}
        passed = self.root.skipped()
        keys = dict.fromkeys((*self.root.plan, *begun))
        return tuple(self._view(key, begun.get(key), key in passed) for key in list(keys)[-MOST_STEPS:])

    def _view(self, key: str, step: Step | None, skipped: bool) -> StepView:
        weight = self.root.plan.get(key, step.weight if step else 1.0)
        if step is None:
            status = "skipped" if skipped else "pending"
            return StepView(key=key, name=key, status=status, percent=None if skipped else 0.0, weight=weight)
        status = "failed" if step.failed else "succeeded" if step.done else "running"
        fraction = step.fraction()
        percent = None if fraction is None else _percent(fraction)
        return StepView(key=key, name=step.name, status=status, percent=percent, weight=weight)


def _percent(fraction: float) -> float:
    return math.floor(fraction * 1000) / 10


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value) or value < 0:
        return None
    return float(f"{value:.3g}")
