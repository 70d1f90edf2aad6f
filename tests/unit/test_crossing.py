"""Exceptions between processes: as whole as they can be, and judged the same."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from milepost_worker.processes.crossing import pack, unpack
from milepost_worker.processes.forkserver import Ended
from milepost_worker.processes.run import death

from milepost import MemoryLimitExceeded, ProcessDied, Retry
from milepost.errors import BadReport, BrokenRelay
from milepost.foreign import Foreign, RemoteTraceback, is_a
from milepost.job import ErrorCode
from milepost.outcome import Again, End, Raised, judge
from milepost.tasks import Options


class Locked(LookupError):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class LockedReport(BadReport):
    def __init__(self) -> None:
        super().__init__("not to be sent")
        self.lock = threading.Lock()


class Cheat(Exception):
    """Unpickles as something else."""

    def __reduce__(self) -> Any:
        return dict, ()


class Exits(Exception):
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return exit, (3,)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return caught


def verdict(outcome: Raised, *retry_on: type[BaseException]) -> Any:
    options = Options(retry_on=retry_on or (Exception,), max_attempts=2)
    return judge(outcome, options, attempt=1, max_attempts=2, timeout_seconds=None, chance=lambda: 0.5)


def test_what_can_be_pickled_arrives_as_it_was() -> None:
    """With its attributes and notes, and how it looked there as its cause."""
    error = OSError(2, "No such file", "rows.csv")
    error.add_note("line 7")
    arrived = unpack(pack(raised(error)))
    found = arrived.error
    assert isinstance(found, FileNotFoundError)
    assert (found.errno, found.filename, found.__notes__) == (2, "rows.csv", ["line 7"])
    assert isinstance(found.__cause__, RemoteTraceback)
    assert arrived.traceback is not None
    assert "in raised" in arrived.traceback
    assert arrived.traceback in str(found.__cause__)


@pytest.mark.parametrize("error", [Locked("a lock"), Cheat("a lock"), Exits("a lock")])
def test_what_cannot_arrives_as_its_name_and_message(error: Exception) -> None:
    """Whatever its pickle would do."""
    found = unpack(pack(raised(error))).error
    assert isinstance(found, Foreign)
    assert (found.name, str(found)) == (type(error).__qualname__, "a lock")
    assert is_a(found, type(error))
    assert is_a(found, Exception)
    assert not is_a(found, KeyError, SystemExit)


def test_retry_on_knows_what_cannot_be_pickled() -> None:
    """By the names of its class and its bases."""
    outcome = unpack(pack(raised(Locked("a lock"))))
    assert isinstance(verdict(outcome, Locked), Again)
    assert isinstance(verdict(outcome, LookupError), Again)
    ended = verdict(outcome, KeyError)
    assert isinstance(ended, End)
    assert ended.error is not None
    assert (ended.error.type, ended.error.message) == ("Locked", "a lock")
    assert ended.error.traceback == outcome.traceback


def test_a_bad_report_is_never_tried_again() -> None:
    """Also where it only stands for one."""
    ended = verdict(unpack(pack(raised(LockedReport()))))
    assert isinstance(ended, End)
    assert ended.error is not None
    assert ended.error.code == ErrorCode.SERIALIZATION


def test_retry_keeps_its_after() -> None:
    """Pickled or not."""

    class Own(Retry):
        pass

    for wish in (Retry("again", after=7.0), Own("again", after=7.0)):
        again = verdict(unpack(pack(raised(wish))), KeyError)
        assert isinstance(again, Again)
        assert (again.delay_seconds, again.error.message) == (7.0, "again")


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"{}", b'{"lineage": 3}', b'{"lineage": [["a"]]}'])
def test_what_is_no_exception_is_refused(payload: bytes) -> None:
    """With a sentence."""
    with pytest.raises(BrokenRelay, match="cannot be read"):
        unpack(payload)


def test_a_large_exception_travels_as_text() -> None:
    """It carries data of the task; its message is cut like any other."""
    packed = pack(raised(ValueError("x" * 5_000_000)))
    assert json.loads(packed)["pickle"] is None
    assert len(packed) < 100_000


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended(3), "exit code 3"),
        (Ended(0), "exit code 0"),
        (Ended(74), "file descriptors"),
        (Ended(-9), "out of memory"),
        (Ended(-11), r"SIGSEGV \(Segmentation fault"),
        (Ended(-64), "ended by"),
        (Ended(None), "fork server"),
    ],
)
def test_the_end_of_a_process_is_told_in_a_sentence(ended: Ended, words: str) -> None:
    """By its exit code or signal."""
    with pytest.raises(ProcessDied, match=words):
        raise death(ended, 0)


def test_a_process_over_its_limit_says_both_numbers() -> None:
    """What it used and what it may use; it is a `MemoryError`, too."""
    with pytest.raises(MemoryLimitExceeded, match=r"used 250 MB .* may use 200 MB") as caught:
        raise death(Ended(-9, over=250_000_000), 200_000_000)
    assert isinstance(caught.value, MemoryError)
