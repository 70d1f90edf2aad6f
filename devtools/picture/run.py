"""What was seen in a run: by the reader in its browser, and by the worker, which nobody cut off."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Seen:
    """An update of the reader, `at` seconds after its first.

    `id` and `type` are those of the event; None where only the connection changed.
    """

    at: float
    connection: str
    status: str
    percent: float
    current: int
    id: str | None
    type: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """What the worker had done `at` seconds after the reader's first update."""

    at: float
    percent: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A stream that the reader asked for, `at` seconds after its first update."""

    at: float
    address: str


@dataclass(frozen=True, slots=True)
class Run:
    """`cut_at` and `back_at` are when the network went and came back."""

    job_id: str
    task: str
    total: int
    unit: str
    cut_at: float
    back_at: float
    asked: tuple[Asked, ...]
    reader: tuple[Seen, ...]
    worker: tuple[Done, ...]

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        reader = tuple(Seen(**one) for one in given["reader"])
        worker = tuple(Done(**one) for one in given["worker"])
        asked = tuple(Asked(**one) for one in given["asked"])
        return cls(**{**given, "asked": asked, "reader": reader, "worker": worker})

    def to_json(self) -> dict[str, Any]:
        """Return it for a file."""
        return asdict(self)
