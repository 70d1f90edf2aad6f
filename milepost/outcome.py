"""What becomes of an attempt: pure rules from how it ended to what is reported."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from milepost.errors import BadReport, ParamsError
from milepost.foreign import Foreign, is_a
from milepost.job import ErrorCode, JobError, Status
from milepost.tasks import Options, Retry, Task

TRACEBACK_CHARACTERS = 20_000
MESSAGE_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Returned:
    """The task returned, and this is its result as JSON."""

    result: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The task raised; `traceback` is how it looked where it was raised, if that was another process."""

    error: BaseException
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """The worker ended the attempt: `cancelled`, `timeout`, `lost` (nothing is to be reported) or `released`."""

    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """Report the job's end."""

    status: Status
    result: str = "null"
    error: JobError | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """Report that another attempt follows after `delay_seconds`."""

    error: JobError
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Release:
    """Hand the job back; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Another attempt has the job; there is nothing to say."""


Outcome = Returned | Raised | Stop
Verdict = End | Again | Release | Nothing


def arguments_of(task: Task[..., Any], params: Mapping[str, Any]) -> dict[str, Any] | Raised:
    """Return what to call the task with, or how the attempt ends when its params do not fit."""
    try:
        return task.arguments(params)
    except ValidationError as error:
        return Raised(ParamsError(_sentence(error)))
    except Exception as error:  # noqa: BLE001 - a validator of the task's own may raise anything
        return Raised(error)


def _sentence(error: ValidationError) -> str:
    parts = (f"{'.'.join(str(at) for at in one['loc']) or 'params'}: {one['msg']}" for one in error.errors())
    return "The params do not fit the task: " + "; ".join(parts) + "."


def within(outcome: Outcome, most_bytes: int) -> Outcome:
    """Return the outcome, or that its result is too long to be kept: more than `most_bytes` as JSON."""
    if not isinstance(outcome, Returned) or len(outcome.result) <= most_bytes:
        return outcome
    return Raised(
        BadReport(
            f"The result is {len(outcome.result):,} bytes long as JSON, and {most_bytes:,} are the most "
            "(MILEPOST_RESULT_LIMIT_BYTES of the worker). Store the data elsewhere and return where it is."
        )
    )


def judge(
    outcome: Outcome,
    options: Options,
    *,
    attempt: int,
    max_attempts: int,
    timeout_seconds: float | None,
    chance: Callable[[], float] = random.random,
) -> Verdict:
    """Return what to report. `chance` is the jitter of the backoff, 0–1."""
    left = attempt < max_attempts
    match outcome:
        case Returned(result):
            return End(Status.SUCCEEDED, result)
        case Stop("lost"):
            return Nothing()
        case Stop("released"):
            return Release()
        case Stop("cancelled"):
            return End(
                Status.CANCELLED,
                error=JobError(code=ErrorCode.CANCELLED, message="Cancelled on request.", attempt=attempt),
            )
        case Stop("timeout"):
            return _after_timeout(options, attempt, timeout_seconds, left, chance)
        case Raised(Retry() as wish):
            error = _error(wish, attempt, retryable=left, shown=outcome.traceback)
            if not left:
                return End(Status.FAILED, error=error)
            wanted = wish.after if wish.after is not None else options.retry_delay(attempt, chance)
            return Again(error, max(0.0, wanted))
        case Raised(error):
            again = left and is_a(error, *options.retry_on) and not is_a(error, BadReport, ParamsError)
            told = _error(error, attempt, retryable=again, shown=outcome.traceback)
            return (
                Again(told, options.retry_delay(attempt, chance)) if again else End(Status.FAILED, error=told)
            )
        case _:
            raise ValueError(f"unknown outcome {outcome!r}")


def _after_timeout(
    options: Options, attempt: int, seconds: float | None, left: bool, chance: Callable[[], float]
) -> Verdict:
    again = left and issubclass(TimeoutError, options.retry_on)
    message = f"The attempt took longer than its {seconds:g} s." if seconds else "The attempt took too long."
    error = JobError(
        code=ErrorCode.TIMEOUT, message=message, type="TimeoutError", attempt=attempt, retryable=again
    )
    return Again(error, options.retry_delay(attempt, chance)) if again else End(Status.FAILED, error=error)


def _error(error: BaseException, attempt: int, *, retryable: bool, shown: str | None = None) -> JobError:
    code = ErrorCode.SERIALIZATION if is_a(error, BadReport) else ErrorCode.EXCEPTION
    return JobError(
        code=code,
        message=message_of(error),
        type=error.name if isinstance(error, Foreign) else type(error).__qualname__,
        attempt=attempt,
        retryable=retryable,
        traceback=shown or traceback_of(error),
    )


def traceback_of(error: BaseException) -> str:
    """Return how the error looks, its end if that is long. Never raises."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as broken:  # noqa: BLE001 -- a SyntaxError whose place is made up, for one
        where = "".join(traceback.format_tb(error.__traceback__))
        text = f"{where}{type(error).__qualname__}: {message_of(error)}\n(not shown whole: {type(broken).__name__})\n"
    text = text[-TRACEBACK_CHARACTERS:]
    return text.encode(
        "utf-8", "replace"
    ).decode()  # file names that are no UTF-8 come as half surrogate pairs


def message_of(error: Any) -> str:
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 -- a task's exception may be unable to say what it is
        text = f"(its message could not be read: {type(broken).__name__})"
    return (text or type(error).__qualname__)[:MESSAGE_CHARACTERS]
