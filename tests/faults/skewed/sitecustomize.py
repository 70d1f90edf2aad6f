"""First on the PYTHONPATH of a process whose host has a wrong clock: imported by `site` before all else.

CLOCK_MONOTONIC stays right, as it does on a host whose date is wrong.
"""

import datetime
import os
import time

AHEAD = float(os.environ["FAULTS_CLOCK_AHEAD_SECONDS"])

_time, _time_ns, _datetime = time.time, time.time_ns, datetime.datetime


def ahead_time() -> float:
    return _time() + AHEAD


def ahead_time_ns() -> int:
    return _time_ns() + round(AHEAD * 1e9)


class _LikeDatetime(type(_datetime)):
    """Moments made by others (a library in C) are datetimes, too."""

    def __instancecheck__(cls, moment: object) -> bool:
        return isinstance(moment, _datetime)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _datetime)


class AheadDatetime(_datetime, metaclass=_LikeDatetime):
    """`datetime`, whose present is later."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _datetime:
        return _datetime.now(tz) + datetime.timedelta(seconds=AHEAD)

    @classmethod
    def utcnow(cls) -> _datetime:
        return _datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=AHEAD)


time.time, time.time_ns = ahead_time, ahead_time_ns
datetime.datetime = AheadDatetime  # type: ignore[misc]
