"""Exceptions of another process that could not be brought over whole."""

from __future__ import annotations

from collections.abc import Sequence


class Foreign(Exception):
    """Stands for an exception that cannot be pickled, or not be made again: its name, its message, its classes."""

    def __init__(self, name: str, message: str, lineage: Sequence[tuple[str, str]]) -> None:
        """`lineage`: module and qualified name of its class and of every base, the nearest first."""
        super().__init__(message)
        self.name, self.lineage = name, frozenset(lineage)

    def is_a(self, kinds: Sequence[type[BaseException]]) -> bool:
        return any((kind.__module__, kind.__qualname__) in self.lineage for kind in kinds)


class RemoteTraceback(Exception):
    """The cause of an exception from another process: how it looked there. Only its text came along."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether `error` is an instance of one of `kinds`, also where it only stands for one."""
    return error.is_a(kinds) if isinstance(error, Foreign) else isinstance(error, kinds)
