"""Reports from another process (see `relay`), said again to the one real reporter of the attempt."""

from __future__ import annotations

import json
from typing import Any

from milepost.errors import BrokenRelay
from milepost.reporting.meter import Step
from milepost.reporting.reporter import Reporter, Stopped


class Replay:
    """What one relay says; `root` is the step that it was opened for. Called from one thread."""

    def __init__(self, reporter: Reporter, root: Step | None = None) -> None:
        self._reporter = reporter
        self._steps: dict[int, Step] = {0: root or reporter.meter.root}

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
        for number in sorted(self._steps, reverse=True)[:-1]:
            step = self._steps.pop(number)
            step.failed = True
            self._reporter.end_step(step)

    def _apply(self, operation: Any) -> None:
        reporter, steps = self._reporter, self._steps
        match operation:
            case ["update", int(number), current, total, message, unit, fraction]:
                reporter.update(steps[number], current, total, message, unit, fraction)
            case ["advance", int(number), n]:
                reporter.advance(steps[number], n)
            case ["begin", int(number), int(parent), str(name), weight]:
                steps[number] = reporter.begin_step(steps[parent], name, weight)
            case ["end", int(number), bool(failed)]:
                step = steps.pop(number)
                step.failed, step.done = failed, not failed
                reporter.end_step(step)
            case ["plan", int(number), dict(weights)]:
                reporter.plan(steps[number], weights)
            case ["log", str(level), message, source]:
                reporter.raise_if_stopped()
                reporter.sink.log(level, message, source)
            case ["output", data]:
                reporter.output(data)
            case ["checkpoint", str(value)]:
                reporter.checkpoint(json.loads(value))
            case _:
                raise BrokenRelay(
                    f"A report from the task's process cannot be understood: {operation!r:.200}"
                )
