"""The events of one job's stream as they stand on a stream of many: the same JSON, another id."""

from __future__ import annotations

import json
from dataclasses import replace

from milepost.codec import encode_frame
from milepost.events import JobEnded
from milepost_api.hub.frames import Frame

_ID = b"id: "
_END = b'{"type":"end",'


def cursor_of(frame: Frame) -> str | None:
    """Return the cursor of an event of the history, None of one that has none."""
    if not frame.sse.startswith(_ID):
        return None
    return frame.sse[len(_ID) : frame.sse.index(b"\n")].decode("ascii")


def with_id(frame: Frame, event_id: bytes) -> Frame:
    """Return the event under another id."""
    rest = frame.sse[frame.sse.index(b"\n") + 1 :] if frame.sse.startswith(_ID) else frame.sse
    return replace(frame, sse=b"%s%s\n%s" % (_ID, event_id, rest))


def of_many(frame: Frame) -> tuple[Frame, str]:
    """Return the `end` of one job as the `job_end` that it is here, and the status in which the job ended."""
    assert frame.data.startswith(_END), "an event begins with its type"
    data = b'{"type":"job_end",' + frame.data[len(_END) :]
    status = str(json.loads(data)["status"])
    return replace(frame, kind=JobEnded.type, data=data, sse=encode_frame(JobEnded.type, data)), status
