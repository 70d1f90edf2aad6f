"""The named points at which an API process is killed: where in the code they are, and what is half done there.

Nothing in production code knows of them: `doom` wraps these functions in the API processes of the suite. A point
whose function has gone fails `test_points`, and stops the API with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Passes = Callable[[tuple[Any, ...], Any], bool]
"""Whether a call passes the point: by its arguments (the first is `self`) and, after it, by what it returned."""


def always(args: tuple[Any, ...], result: Any) -> bool:
    return True


def some_given(args: tuple[Any, ...], result: Any) -> bool:
    return bool(args[1])


def some_returned(args: tuple[Any, ...], result: Any) -> bool:
    return bool(result)


def returned(*what: str) -> Passes:
    return lambda args, result: result in what


def end_returned(args: tuple[Any, ...], result: Any) -> bool:
    return bool(result) and result[-1].kind == "end"


def deletion(args: tuple[Any, ...], result: Any) -> bool:
    return bool(getattr(args[1], "is_delete", False))


@dataclass(frozen=True, slots=True)
class Point:
    """`where` is `module:Qualified.name`; `within` names a function that must be under way (in the same task)."""

    when: Literal["before", "after"]
    where: str
    told: str
    passes: Passes = always
    within: str | None = None


_STORE, _LIFECYCLE = "milepost_api.records.store:JobStore", "milepost.log.lifecycle:Lifecycle"
_DISPATCHER = "milepost_api.caretaker.dispatch:Dispatcher"
_COMMIT = "sqlalchemy.ext.asyncio.session:AsyncSessionTransaction.__aexit__"

POINTS: Mapping[str, Point] = {
    "submit-uncommitted": Point(
        "after",
        "milepost_api.records.intake:insert_rows",
        "The rows of a submission are written and not committed: nothing was accepted.",
    ),
    "submit-committed": Point(
        "after",
        f"{_STORE}.insert",
        "A submission is committed, Redis has not heard of it, and nobody was told.",
    ),
    "submit-created": Point(
        "after",
        "milepost_api.desk:Desk._hand_over",
        "The job is in Redis, perhaps runs already, and who submitted it has no answer.",
    ),
    "dispatch-found": Point(
        "before",
        "milepost_api.revival:Revival.bring",
        "The dispatcher has found accepted jobs that Redis does not have, and brought none.",
        passes=some_given,
        within=f"{_DISPATCHER}.round",
    ),
    "dispatch-created": Point(
        "before",
        f"{_STORE}.mark_dispatched",
        "The dispatcher has brought jobs to Redis and the records do not say so.",
        passes=some_given,
        within=f"{_DISPATCHER}.round",
    ),
    "dispatch-marked": Point(
        "after",
        f"{_STORE}.mark_dispatched",
        "The dispatcher has brought jobs to Redis and said so in the records.",
        passes=some_given,
        within=f"{_DISPATCHER}.round",
    ),
    "record-read": Point(
        "after",
        f"{_LIFECYCLE}.fresh",
        "A batch of events was given to this recorder, and none of it is written.",
        passes=some_returned,
    ),
    "record-uncommitted": Point(
        "before",
        _COMMIT,
        "A batch is written and not committed.",
        within=f"{_STORE}.change",
    ),
    "record-committed": Point(
        "before",
        f"{_LIFECYCLE}.recorded",
        "A batch is committed and not acknowledged: it will be given out again.",
        passes=some_given,
    ),
    "record-acknowledged": Point(
        "after",
        f"{_LIFECYCLE}.recorded",
        "A batch is acknowledged and removed, which is one step, and the recorder does not know.",
        passes=some_given,
    ),
    "lapse-found": Point(
        "before",
        "milepost.log.joblog:JobLog.lapse",
        "The caretaker has found an old lease and not looked at it.",
    ),
    "lapse-taken": Point(
        "after",
        "milepost.log.joblog:JobLog.lapse",
        "The caretaker has taken one lost lease away; others wait.",
        passes=returned("retrying", "failed", "cancelled"),
    ),
    "expire-found": Point(
        "before",
        "milepost.log.housekeeping:expire_unstarted",
        "A job that nobody began is about to be ended.",
    ),
    "expire-ended": Point(
        "after",
        "milepost.log.housekeeping:expire_unstarted",
        "A job that nobody began is ended, and the next one is not.",
        passes=returned("expired"),
    ),
    "recover-noticed": Point(
        "after",
        "milepost.log.housekeeping:Keepsake.lost",
        "It was noticed that Redis has lost its data, and nothing was brought back.",
    ),
    "recover-bringing": Point(
        "after",
        "milepost.log.joblog:JobLog.create_all",
        "Some of the jobs that Redis lost are back, and the records do not say so.",
        passes=some_returned,
        within=f"{_DISPATCHER}._recover",
    ),
    "recover-brought": Point(
        "before",
        "milepost.log.housekeeping:Keepsake.leave",
        "All that Redis lost is back, and Redis does not say so.",
    ),
    "retain-uncommitted": Point(
        "after",
        "sqlalchemy.ext.asyncio.session:AsyncSession.execute",
        "Old jobs are deleted and that is not committed.",
        passes=deletion,
        within=f"{_STORE}.remove_finished",
    ),
    "retain-committed": Point(
        "after",
        f"{_STORE}.remove_finished",
        "A batch of old jobs is deleted, and others are due.",
        passes=some_returned,
    ),
    "stream-end": Point(
        "after",
        "milepost_api.hub.subscription:Subscription.next",
        "The hub has an `end` in its hand for one reader, and has not written it.",
        passes=end_returned,
    ),
}
