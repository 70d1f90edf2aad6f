"""Reports from another process (see `relay`), said again to the one real reporter of the attempt."""

from __future__ import annotations

import json
from typing import Any, Literal

from milepost.errors import BrokenRelay
from milepost.reporting.meter import Step
from milepost.reporting.reporter import (
    MESSAGE_CHARACTERS,
    NAME_CHARACTERS,
    Reporter,
    Stopped,
    finite,
    text,
    weight_of,
)


class Replay:
    """What one relay says; `root` is the step that it was opened for. Called from one thread."""

    def __init__(self, reporter: Reporter, root: Step | None = None) -> None:
        self._reporter = reporter
        self._steps: dict[int, Step] = {0: root or reporter.meter.root}
        self._counted: list[Step] = []

    def apply(self, batch: bytes) -> None:
        """Carry out one batch.

        Raises `BrokenRelay` when it is none, and whatever the attempt's sink raises. Once the attempt is to stop,
        its reports are refused as those of a thread would be.
        """
        try:
            operations = json.loads(batch)
        except ValueError as error:
            raise BrokenRelay(f"A report from the task's process is no JSON: {error}") from error
        for operation in operations if isinstance(operations, list) else [operations]:
            try:
                self._apply(operation)
            except Stopped:
                pass  # the other process hears of it as well
            except KeyError as error:
                if self._reporter.stop is None:  # else the step was refused
                    raise BrokenRelay(
                        f"A report from the task's process names the step {error}, which never began."
                    ) from error

    def close(self) -> None:
        """The other process is gone: what it had begun, and not ended, has failed."""
        for step in self._counted:
            step.end_loop()
        for number in sorted(self._steps, reverse=True)[:-1]:
            self._end(self._steps.pop(number), "failed")

    def _apply(self, operation: Any) -> None:
        reporter = self._reporter
        match operation:
            case ["say", message]:
                reporter.raise_if_stopped()
                reporter.meter.message = None if message is None else text(message, MESSAGE_CHARACTERS)
                reporter.touch(reporter.meter.focus)
            case ["log", str(level), message, source]:
                reporter.raise_if_stopped()
                reporter.sink.log(level, message, source)
            case ["output", data]:
                reporter.output(data)
            case ["checkpoint", str(value)]:
                reporter.checkpoint(json.loads(value))
            case [str(verb), int(number), *rest]:
                self._on_step(verb, number, rest)
            case _:
                raise BrokenRelay(_unknown(operation))

    def _on_step(self, verb: str, number: int, rest: list[Any]) -> None:
        reporter, steps = self._reporter, self._steps
        match verb, rest:
            case "set", [current, total, unit, share]:
                self._set(steps[number], current, total, unit, share)
            case "update", [current, total, unit, fraction]:
                reporter.update(steps[number], current, total, None, unit, fraction)
            case "advance", [n]:
                reporter.advance(steps[number], n)
            case "focus", []:
                reporter.touch(steps[number])
            case "begin", [int(parent), str(name), weight, bool(loop)]:
                begin = self._begin_loop if loop else reporter.begin_step
                steps[number] = begin(steps[parent], name, weight)
            case "end", ["done" | "failed" | "left" as outcome]:
                self._end(steps.pop(number), outcome)
            case "plan", [dict(weights)]:
                reporter.plan(steps[number], weights)
            case "count" | "counted", []:
                self._count(steps[number], verb == "count")
            case _:
                raise BrokenRelay(_unknown([verb, number, *rest]))

    def _set(self, step: Step, current: Any, total: Any, unit: Any, share: Any) -> None:
        self._reporter.raise_if_stopped()
        step.current = None if current is None else finite(current)
        step.total = None if total is None else finite(total)
        step.unit = None if unit is None else text(unit, NAME_CHARACTERS)
        step.share = None if share is None else finite(share)
        self._reporter.touch(step)

    def _begin_loop(self, parent: Step, name: str, weight: Any) -> Step:
        # That the loop cannot count on `parent` was decided over there, and so was its weight.
        self._reporter.raise_if_stopped()
        weight = weight_of(weight)
        step = self._reporter.begin_inner_loop(parent, text(name, NAME_CHARACTERS))
        step.weight = weight
        return step

    def _count(self, step: Step, counted: bool) -> None:
        if counted:
            self._reporter.raise_if_stopped()
        with self._reporter.lock:
            if counted:
                step.begin_loop()
                self._counted.append(step)
            elif step in self._counted:
                step.end_loop()
                self._counted.remove(step)
                self._reporter.meter.focus = step

    def _end(self, step: Step, outcome: Literal["done", "failed", "left"]) -> None:
        if step.loop and step.parent is not None:
            self._reporter.end_loop(step, step.parent, outcome)
        else:
            setattr(step, outcome, True)
            self._reporter.end_step(step)


def _unknown(operation: Any) -> str:
    return f"A report from the task's process cannot be understood: {operation!r:.200}"
