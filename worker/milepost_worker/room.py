"""How many attempts of each task may begin in this worker now (`@task(concurrency=…)`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from milepost.tasks import Task

UNLIMITED = -1


class Room(Mapping[str, int]):
    """Task name → attempts that may begin now, -1 for any number. Every task of the worker is in it."""

    def __init__(self, tasks: Mapping[str, Task[..., Any]]) -> None:
        self._left = {
            name: UNLIMITED if task.options.concurrency is None else task.options.concurrency
            for name, task in tasks.items()
        }
        self._limited = {name for name, left in self._left.items() if left != UNLIMITED}

    def __getitem__(self, task: str) -> int:
        return self._left[task]

    def __iter__(self) -> Iterator[str]:
        return iter(self._left)

    def __len__(self) -> int:
        return len(self._left)

    def begun(self, task: str) -> None:
        """Count an attempt in."""
        if task in self._limited:
            self._left[task] -= 1

    def ended(self, task: str) -> None:
        """Count it out."""
        if task in self._limited:
            self._left[task] += 1
