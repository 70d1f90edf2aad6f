"""The Python client: submit jobs, watch them, and not notice that connections drop.

    from milepost.client import Client

    with Client() as client:
        job = client.submit("files.checksum", {"path": "data"})
        for job in client.watch(job.id):
            print(job.status, job.progress.percent)

`AsyncClient` is the same for asyncio. Names load on first use: importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milepost.client.aio import AsyncClient
    from milepost.client.answers import (
        BulkOutcome,
        EventPage,
        JobCounts,
        JobPage,
        Refusal,
        StreamToken,
        TaskEntry,
    )
    from milepost.client.calls import ListFilter, SubmitOptions
    from milepost.client.errors import (
        BadAnswer,
        ClientError,
        Conflict,
        Gone,
        Invalid,
        NotFound,
        Refused,
        Unauthorized,
        Unreachable,
    )
    from milepost.client.follower import Connection
    from milepost.client.sync import Client

__all__ = [
    "AsyncClient",
    "BadAnswer",
    "BulkOutcome",
    "Client",
    "ClientError",
    "Conflict",
    "Connection",
    "EventPage",
    "Gone",
    "Invalid",
    "JobCounts",
    "JobPage",
    "ListFilter",
    "NotFound",
    "Refusal",
    "Refused",
    "StreamToken",
    "SubmitOptions",
    "TaskEntry",
    "Unauthorized",
    "Unreachable",
]

_HOME = {
    "AsyncClient": "aio",
    "Client": "sync",
    "Connection": "follower",
    **dict.fromkeys(("ListFilter", "SubmitOptions"), "calls"),
    **dict.fromkeys(("BulkOutcome", "EventPage", "JobCounts", "JobPage", "Refusal"), "answers"),
    **dict.fromkeys(("StreamToken", "TaskEntry"), "answers"),
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"milepost.client.{_HOME.get(name, 'errors')}"), name)
    raise AttributeError(f"module 'milepost.client' has no attribute {name!r}")
