"""First on the PYTHONPATH of a process whose host has a wrong clock: imported by `site` before all else.

CLOCK_MONOTONIC stays right, as it does on a host whose date is wrong.
"""

import datetime as dt
import os
import time
from datetime import datetime

AHEAD = float(os.environ["FAULTS_CLOCK_AHEAD_SECONDS"])

right_time, right_time_ns = time.time, time.time_ns


def ahead_time() -> float:
    return right_time() + AHEAD


def ahead_time_ns() -> int:
    return right_time_ns() + round(AHEAD * 1e9)


class AheadDatetime(datetime):
    """`datetime`, whose present is later."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + dt.timedelta(seconds=AHEAD)

    @classmethod
    def utcnow(cls) -> datetime:  # type: ignore[override]
        return datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=AHEAD)


class LikeDatetime(type):
    """Moments made by others (a library in C) are datetimes, too."""

    def __instancecheck__(cls, moment: object) -> bool:
        return isinstance(moment, datetime)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, datetime)


time.time, time.time_ns = ahead_time, ahead_time_ns
dt.datetime = LikeDatetime("datetime", (AheadDatetime,), {})  # type: ignore[assignment, misc]
