"""From how an attempt ended to what is reported: the whole table."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from milepost.errors import BadReport, ParamsError
from milepost.job import ErrorCode, Status
from milepost.outcome import (
    MESSAGE_CHARACTERS,
    TRACEBACK_CHARACTERS,
    Again,
    End,
    Nothing,
    Outcome,
    Raised,
    Release,
    Returned,
    Stop,
    Verdict,
    judge,
)
from milepost.reporting import Stopped
from milepost.tasks import Options, Retry

ANY = Options(max_attempts=3, backoff=8)
OS_ONLY = Options(max_attempts=3, backoff=8, retry_on=(OSError,))
VALUE_ONLY = Options(max_attempts=3, backoff=8, retry_on=(ValueError,))


def judged(outcome: Outcome, options: Options = ANY, attempt: int = 1, **given: Any) -> Verdict:
    chance = given.pop("chance", lambda: 0.5)
    return judge(
        outcome,
        options,
        attempt=attempt,
        max_attempts=3,
        timeout_seconds=given.get("timeout", 60),
        chance=chance,
    )


def test_what_returns_has_succeeded() -> None:
    """With its result, at any attempt."""
    for attempt in (1, 3):
        assert judged(Returned("[1]"), attempt=attempt) == End(Status.SUCCEEDED, "[1]")


@pytest.mark.parametrize("attempt", [1, 3])
def test_stops_that_are_no_failure(attempt: int) -> None:
    """A job that was taken away has nothing to say, one handed back uses no attempt, one cancelled ends."""
    assert judged(Stop("lost"), attempt=attempt) == Nothing()
    assert judged(Stop("released"), attempt=attempt) == Release()
    cancelled = judged(Stop("cancelled"), attempt=attempt)
    assert isinstance(cancelled, End)
    assert cancelled.status is Status.CANCELLED
    assert cancelled.error is not None
    assert (cancelled.error.code, cancelled.error.attempt) == (ErrorCode.CANCELLED, attempt)


@pytest.mark.parametrize(
    ("outcome", "options", "attempt", "delay", "code"),
    [
        (Raised(ValueError("x")), ANY, 1, 4, ErrorCode.EXCEPTION),
        (Raised(ValueError("x")), ANY, 2, 8, ErrorCode.EXCEPTION),
        (Raised(FileNotFoundError("x")), OS_ONLY, 1, 4, ErrorCode.EXCEPTION),
        (Raised(Retry("later", after=7)), OS_ONLY, 2, 7, ErrorCode.EXCEPTION),
        (Raised(Retry("now", after=0)), ANY, 1, 0, ErrorCode.EXCEPTION),
        (Raised(Retry("some time")), ANY, 1, 4, ErrorCode.EXCEPTION),
        (Stop("timeout"), ANY, 1, 4, ErrorCode.TIMEOUT),
        (Stop("timeout"), OS_ONLY, 2, 8, ErrorCode.TIMEOUT),  # TimeoutError is an OSError
    ],
)
def test_another_attempt_follows(
    outcome: Outcome, options: Options, attempt: int, delay: float, code: str
) -> None:
    """As long as attempts are left and the error is one of those to retry on."""
    verdict = judged(outcome, options, attempt)
    assert isinstance(verdict, Again)
    assert verdict.delay_seconds == delay
    assert (verdict.error.code, verdict.error.attempt, verdict.error.retryable) == (code, attempt, True)


@pytest.mark.parametrize(
    ("outcome", "options", "attempt", "code"),
    [
        (Raised(ValueError("x")), ANY, 3, ErrorCode.EXCEPTION),
        (Raised(ValueError("x")), OS_ONLY, 1, ErrorCode.EXCEPTION),
        (Raised(Retry("later", after=7)), ANY, 3, ErrorCode.EXCEPTION),
        (Stop("timeout"), ANY, 3, ErrorCode.TIMEOUT),
        (Stop("timeout"), VALUE_ONLY, 1, ErrorCode.TIMEOUT),
        (Raised(BadReport("x")), ANY, 1, ErrorCode.SERIALIZATION),
        (Raised(BadReport("x")), VALUE_ONLY, 1, ErrorCode.SERIALIZATION),
        (Raised(ParamsError("x")), ANY, 1, ErrorCode.EXCEPTION),
        (Raised(SystemExit(1)), ANY, 1, ErrorCode.EXCEPTION),
        (Raised(KeyboardInterrupt()), ANY, 1, ErrorCode.EXCEPTION),
        (Raised(asyncio.CancelledError()), ANY, 1, ErrorCode.EXCEPTION),
        (Raised(Stopped("made up")), ANY, 1, ErrorCode.EXCEPTION),
        (Raised(BaseExceptionGroup("x", [SystemExit()])), ANY, 1, ErrorCode.EXCEPTION),
    ],
)
def test_the_job_has_failed(outcome: Outcome, options: Options, attempt: int, code: str) -> None:
    """When no attempt is left, or another would end the same way."""
    verdict = judged(outcome, options, attempt)
    assert isinstance(verdict, End)
    assert verdict.status is Status.FAILED
    assert verdict.error is not None
    assert (verdict.error.code, verdict.error.attempt, verdict.error.retryable) == (code, attempt, False)


def test_the_error_says_what_was_raised_and_keeps_the_traceback() -> None:
    """Type and message for everybody, the traceback for operators."""
    try:
        raise LookupError("no such row")
    except LookupError as error:
        verdict = judged(Raised(error), attempt=3)
    assert isinstance(verdict, End)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message) == ("LookupError", "no such row")
    assert 'raise LookupError("no such row")' in (verdict.error.traceback or "")
    assert "traceback" not in verdict.error.to_wire()


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(), "ValueError"),
        (Mute(), "(its message could not be read: RuntimeError)"),
        (ValueError("x" * 20_000), "x" * MESSAGE_CHARACTERS),
    ],
)
def test_every_exception_has_a_message_of_bounded_length(error: Exception, message: str) -> None:
    """Also one that cannot say what it is."""
    verdict = judged(Raised(error), attempt=3)
    assert isinstance(verdict, End)
    assert verdict.error is not None
    assert verdict.error.message == message


def test_a_traceback_can_be_encoded_and_keeps_its_end() -> None:
    """It names a file that is no UTF-8, and is long: the end is what says where it happened."""
    verdict = judged(Raised(FileNotFoundError("x" * 30_000 + "\udcff")), attempt=3)
    assert isinstance(verdict, End)
    assert verdict.error is not None
    traceback = verdict.error.traceback or ""
    assert len(traceback.encode("utf-8")) <= TRACEBACK_CHARACTERS
    assert traceback.endswith("x?\n")


def test_a_timeout_says_after_how_long() -> None:
    """Where that is known."""
    for seconds, message in ((1.5, "longer than its 1.5 s"), (None, "took too long")):
        verdict = judged(Stop("timeout"), VALUE_ONLY, timeout=seconds)
        assert isinstance(verdict, End)
        assert verdict.error is not None
        assert message in verdict.error.message


def test_an_unknown_reason_is_a_bug_and_said_to_be_one() -> None:
    """It is not taken for one of the known."""
    with pytest.raises(ValueError, match="unknown outcome"):
        judged(Stop("bored"))
