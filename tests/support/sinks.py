"""Where reports go in tests that look at what a task says, without a worker."""

from __future__ import annotations

from typing import Any


class Notes:
    """Notes what it is told, in order, in `told`."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def changed(self) -> None:
        self.told.append(("changed",))

    def milestone(self) -> None:
        self.told.append(("milestone",))

    def log(self, level: str, message: str, source: str | None) -> None:
        self.told.append(("log", level, message, source))

    def output(self, data: Any) -> None:
        self.told.append(("output", data))

    def checkpoint(self, value: str) -> None:
        self.told.append(("checkpoint", value))

    def of(self, kind: str) -> list[list[Any]]:
        """Return what was told of one kind, without its kind."""
        return [rest for first, *rest in map(list, self.told) if first == kind]
