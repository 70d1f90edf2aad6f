"""A job that is about to be created is watched while it is being committed: whoever submits mostly follows."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType

from milepost.log import View

FORESEEN_MOST = 20
"""So many at most wait for a reader: nobody follows thousands of jobs that are submitted in one go, one by one."""


class Foreseen(AbstractContextManager["Foreseen"]):
    """What is known of it before it is read. When the block ends, whoever waits for more reads for himself."""

    def __init__(self) -> None:
        self.heard = False
        """Whether all that is published of the job is heard: what is read from here on has no hole behind it."""
        self.view: asyncio.Future[View | None] = asyncio.get_running_loop().create_future()

    def tell(self, view: View | None) -> None:
        """Give what was read since the job is `heard`, together with its creation; None if that was not read."""
        if not self.view.done():
            self.view.set_result(view)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tell(None)
