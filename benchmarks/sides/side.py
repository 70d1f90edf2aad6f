"""What the rows about streams need to know of a server, whatever it is made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.processes import Measured


@dataclass(frozen=True)
class Server:
    """A server that runs: where, as which process, and where its events are published."""

    port: int
    process: Measured
    publish_url: str


@dataclass(frozen=True)
class Side:
    """One kind of server.

    A stream is open when it has said `ready`: Milepost's with the job's snapshot, the others' with their head.
    `publish` names a way of `benchmarks.publisher`.
    """

    name: str
    what: str
    path: str
    ready: bytes
    publish: str
    start: Callable[[Bench], AbstractContextManager[Server]]
    tools: tuple[str, ...] = ()
    """Variables that name the programs it needs."""

    @property
    def is_here(self) -> bool:
        """Whether `dev.py` has found all that it needs, or brought it."""
        return all(os.environ.get(variable) for variable in self.tools)
