"""From how an attempt ended to what is reported: the whole table."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from milepost.errors import BadReport, ParamsError
from milepost.job import ErrorCode, JobError, Status
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
    within,
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


def test_a_result_that_is_too_long_fails_the_job_for_good() -> None:
    """With what to do about it; another attempt would return as much."""
    assert within(Returned("x" * 100), 100) == Returned("x" * 100)
    assert within(Stop("lost"), 100) == Stop("lost")
    verdict = judged(within(Returned("x" * 1101), 1100))
    assert isinstance(verdict, End)
    assert (verdict.status, verdict.result) == (Status.FAILED, "null")
    assert verdict.error is not None
    assert verdict.error.code == "serialization"
    assert verdict.error.message.startswith("The result is 1,101 bytes long as JSON, and 1,100 are the most")


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


# --- errors whole ----------------------------------------------------------------------------------


def told(error: BaseException) -> JobError:
    """Raise it for good and return what is told of it."""
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 -- whatever it is
        verdict = judged(Raised(raised), attempt=3)
    assert isinstance(verdict, End)
    assert verdict.error is not None
    return verdict.error


def chained() -> BaseException:
    """Return what `raise … from …` makes, itself raised while something else was handled."""
    try:
        try:
            raise KeyError("row 7")
        except KeyError as cause:
            raise LookupError("no such row") from cause
    except LookupError:
        try:
            raise RuntimeError("cannot import")
        except RuntimeError as error:
            return error


def test_causes_and_contexts_are_in_the_traceback_and_the_message_is_the_last() -> None:
    """Type and message are those of what was raised; where it came from is for operators."""
    error = told(chained())
    assert (error.type, error.message) == ("RuntimeError", "cannot import")
    shown = error.traceback or ""
    order = [
        "KeyError: 'row 7'",
        "The above exception was the direct cause",
        "LookupError: no such row",
        "During handling of the above exception, another exception occurred",
        "RuntimeError: cannot import",
    ]
    assert sorted(map(shown.index, order)) == [shown.index(line) for line in order]


def test_a_group_keeps_all_its_errors() -> None:
    """What `asyncio.TaskGroup` raises: each one is in the traceback."""
    group = ExceptionGroup("two of three failed", [LookupError("first"), OSError(2, "second")])
    error = told(group)
    assert (error.type, error.message) == ("ExceptionGroup", "two of three failed (2 sub-exceptions)")
    assert "LookupError: first" in (error.traceback or "")
    assert "FileNotFoundError: [Errno 2] second" in (error.traceback or "")


def test_notes_are_in_the_traceback_and_not_in_the_message() -> None:
    """`add_note` is for those who look closer."""
    noted = ValueError("wrong")
    noted.add_note("while importing row 7")
    error = told(noted)
    assert error.message == "wrong"
    assert (error.traceback or "").endswith("ValueError: wrong\nwhile importing row 7\n")


def test_a_syntax_error_shows_its_line() -> None:
    """Of a module that a task imports, or a template that it compiles."""
    with pytest.raises(SyntaxError) as caught:
        compile("a = = 1", "rules.txt", "exec")
    error = told(caught.value)
    assert error.type == "SyntaxError"
    assert error.message == "invalid syntax (rules.txt, line 1)"
    assert "a = = 1" in (error.traceback or "")


def broken(kind: str) -> BaseException:
    """Return an exception that cannot be shown as others can."""
    if kind == "offset":
        return SyntaxError("wrong", ("rules.txt", 1, "third", "a = = 1"))  # type: ignore[arg-type]
    error = LookupError("no such row")
    if kind == "notes":
        error.__notes__ = 3  # type: ignore[assignment]
    elif kind == "cycle":
        error.__cause__ = ValueError("why")
        error.__cause__.__cause__ = error
    return error


@pytest.mark.parametrize("kind", ["offset", "notes", "cycle"])
def test_an_error_that_cannot_be_shown_is_told_all_the_same(kind: str) -> None:
    """The worker does not fail on what a task made of its exception."""
    error = told(broken(kind))
    assert error.message.startswith(("wrong", "no such row"))
    assert str(error.type) in (error.traceback or "")


def test_an_exception_without_words_in_its_causes_is_told() -> None:
    """One that cannot say what it is may be anywhere in the chain."""
    outer = ValueError("outer")
    outer.__cause__ = Mute()
    error = told(outer)
    assert error.message == "outer"
    assert "Mute: <exception str() failed>" in (error.traceback or "")


def test_the_name_of_a_nested_class_is_told_whole() -> None:
    """As Python names it."""

    class Outer:
        class Wrong(Exception):
            pass

    assert told(Outer.Wrong("x")).type == (
        "test_the_name_of_a_nested_class_is_told_whole.<locals>.Outer.Wrong"
    )
