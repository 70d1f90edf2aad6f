"""From what a task reports to one honest `Progress`: steps, weights, percent, rate, ETA. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from milepost.job import Progress, StepRef
from milepost.job import Step as StepView
from milepost.reporting.estimator import Estimator

PERCENT_BEFORE_SUCCESS = 99.9


class Step:
    """One place in the tree of steps; the root is the job itself. Written by the task, read by the meter.

    Plain attributes, no lock: a reader may see a `current` without its `total` for an instant, and what it
    sends next is right again. That buys reports that cost well under a microsecond.
    """

    __slots__ = (
        "children",
        "current",
        "done",
        "failed",
        "key",
        "name",
        "parent",
        "plan",
        "share",
        "total",
        "weight",
    )

    def __init__(self, key: str, name: str, weight: float = 1.0, parent: Step | None = None) -> None:
        self.key, self.name, self.weight, self.parent = key, name, weight, parent
        self.current: float | None = None
        self.total: float | None = None
        self.share: float | None = None
        """The fraction as the task says it, where the counts do not."""
        self.children: list[Step] = []
        self.plan: dict[str, float] = {}
        self.done = self.failed = False

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
        # Steps inside an item of a counted loop: they move the bar between two counts.
        inside = next((child.fraction() for child in self.children if not child.done), None) or 0.0
        return min(1.0, max(0.0, ((self.current or 0.0) + inside) / self.total))

    def _planned_fraction(self) -> float:
        weights = dict(self.plan)
        moved = 0.0
        for child in tuple(self.children):
            weights.setdefault(child.key, child.weight)
            moved += weights[child.key] * (child.fraction() or 0.0)
        whole = sum(weights.values())
        return min(1.0, moved / whole) if whole > 0 else 0.0


class Meter:
    """Reads the tree of one attempt. `percent` never falls and stays below 100 until `finish`."""

    def __init__(self, plan: Mapping[str, float] | None = None) -> None:
        self.root = Step("", "")
        self.root.plan = dict(plan or {})
        self.focus = self.root
        """The step that reported last: its counts are the ones to show."""
        self.message: str | None = None
        self.unit: str | None = None
        self._percent: float | None = None
        self._speed = Estimator()
        self._pace = Estimator()
        self._paced: Step | None = None

    def read(self, now: float, updated_at: str | None = None) -> Progress:
        """Return the progress as of `now` (seconds, monotonic)."""
        focus, fraction = self.focus, self.root.fraction()
        return Progress(
            current=focus.current,
            total=focus.total,
            unit=self.unit,
            percent=self._monotonic(fraction),
            message=self.message,
            step=self._step(focus),
            steps=self._steps(),
            rate=_rounded(self._rate(now, focus)),
            eta_seconds=_rounded(self._eta(now, fraction)),
            updated_at=updated_at,
        )

    def finish(self, now: float, *, succeeded: bool, updated_at: str | None = None) -> Progress:
        """Return the last progress: 100 % after success, frozen where it stood otherwise."""
        if succeeded:
            self.root.done = True
            self._percent = 100.0
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

    def _monotonic(self, fraction: float | None) -> float | None:
        if fraction is not None:
            percent = min(PERCENT_BEFORE_SUCCESS, math.floor(fraction * 1000) / 10)
            self._percent = max(self._percent or 0.0, percent)
        return self._percent

    def _rate(self, now: float, focus: Step) -> float | None:
        if focus is not self._paced:
            self._pace, self._paced = Estimator(), focus
        if focus.current is not None:
            self._pace.observe(now, focus.current)
        return self._pace.rate(now)

    def _eta(self, now: float, fraction: float | None) -> float | None:
        if fraction is None:
            return None
        self._speed.observe(now, fraction)
        speed = self._speed.rate(now)
        return (1.0 - fraction) / speed if speed else None

    def _step(self, focus: Step) -> StepRef | None:
        step = focus
        while step.parent is not None and step.parent is not self.root:
            step = step.parent
        if step.parent is None:
            return None
        keys = self._keys()
        count = len(keys) if self.root.plan else None
        return StepRef(key=step.key, name=step.name, index=keys.index(step.key) + 1, count=count)

    def _keys(self) -> list[str]:
        return list(dict.fromkeys((*self.root.plan, *(child.key for child in tuple(self.root.children)))))

    def _steps(self) -> tuple[StepView, ...]:
        started = {child.key: child for child in tuple(self.root.children)}
        return tuple(self._view(key, started.get(key)) for key in self._keys()[:MOST_STEPS_SHOWN])

    def _view(self, key: str, step: Step | None) -> StepView:
        weight = self.root.plan.get(key, step.weight if step else 1.0)
        if step is None:
            return StepView(key=key, name=key, status="pending", percent=0.0, weight=weight)
        status = "failed" if step.failed else "succeeded" if step.done else "running"
        fraction = step.fraction()
        percent = None if fraction is None else math.floor(fraction * 1000) / 10
        return StepView(key=key, name=step.name, status=status, percent=percent, weight=weight)


MOST_STEPS_SHOWN = 50
"""A task that makes a step per item would otherwise send the whole list ten times a second."""


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value) or value < 0:
        return None
    return float(f"{value:.3g}")
