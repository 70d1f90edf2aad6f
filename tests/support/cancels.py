"""Work that does not hear its first cancel."""

from __future__ import annotations

import asyncio
from typing import Any


class LosesACancel:
    """Goes on after it, as `asyncio.wait_for` may before Python 3.12 (see `milepost.background.end`)."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.lost = False

    async def __call__(self, *_: Any, **__: Any) -> None:
        while True:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.lost:
                    raise
                self.lost = True
