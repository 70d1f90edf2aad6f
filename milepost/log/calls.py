"""What an attempt says, as script calls: built here without I/O, sent by whoever has a connection.

The worker sends these from a thread of its own in pipelines (`milepost_worker.courier`); tests send them
one by one through `JobLog`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from milepost.codec import dumps
from milepost.errors import BadReport
from milepost.events import INLINE_RESULT_BYTES
from milepost.job import ErrorCode, JobError, Progress, Status
from milepost.log.keys import events_key, result_key, state_key
from milepost.log.scripts import SCRIPTS, Script
from milepost.secrets import Mask

EVENT_BYTES = 8 * 1024 * 1024
"""The longest event, as JSON: a megabyte of text fits even if every character of it is escaped."""


@dataclass(frozen=True, slots=True)
class Call:
    """One EVALSHA: which script, with what. `args[0]` is the job id."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[str | int, ...]


def job_call(name: str, job_id: str, *args: str | int, result: bool = False) -> Call:
    keys = (state_key(job_id), events_key(job_id)) + ((result_key(job_id),) if result else ())
    return Call(SCRIPTS[name], keys, (job_id, *args))


def members(fields: Mapping[str, Any]) -> str:
    """Return the inside of a JSON object, for the script to put its own members before.

    Raises `BadReport` when a value is not JSON, or when all of it is too long to be an event.
    """
    return fitting(dumps(fields)[1:-1])


def fitting(text: str) -> str:
    """Return the inside of an event. Raises `BadReport` when it is too long to be one."""
    if len(text) > EVENT_BYTES:
        raise BadReport(
            f"This report is {len(text):,} bytes long as JSON and an event holds at most {EVENT_BYTES:,}; "
            "store the data elsewhere and report where it is."
        )
    return text


CANCELLED_ERROR = JobError(code=ErrorCode.CANCELLED, message="Cancelled on request.")


def end_args(
    status: Status | str, attempt: int, progress: Progress, result: str, error: JobError | None
) -> list[str]:
    """Return what an end says to the scripts: the result if it is large, the inside of its event, state fields.

    `result` is JSON; "" is a large one that is lost, which is told from one that is `null`.
    """
    large = not result or len(result) > INLINE_RESULT_BYTES
    inline = "null" if large else result
    shown, stood = dumps(error and error.to_wire()), dumps(progress.to_wire())
    body = ",".join(
        (
            f'"status":"{status}","attempt":{attempt},"progress":{stood}',
            f'"result":{inline},"result_omitted":{dumps(large)},"error":{shown}',
        )
    )
    fields = {
        "status": str(status),
        "progress": stood,
        "result": inline,
        "result_omitted": "1" if large else "",
        "error": shown if error else "",
        "traceback": (error and error.traceback) or "",
    }
    flat = [part for pair in fields.items() for part in pair]
    return [result if large else "", body, *flat]


class ReportCalls:
    """Numbers the reports of one attempt, from 1: the log takes each number once, in order."""

    def __init__(
        self,
        job_id: str,
        fence: int,
        attempt: int,
        *,
        history_limit: int,
        retention_ms: int,
        mask: Mask | None = None,
    ) -> None:
        """`mask` takes the job's secrets out of everything that anybody can read: each word leaves through here."""
        self.job_id, self.fence, self.attempt = job_id, fence, attempt
        self._history_limit, self._retention_ms = history_limit, retention_ms
        self._mask = mask
        self._number = 0

    def progress(self, progress: Progress) -> Call:
        if self._mask:
            progress = self._mask.progress(progress)
        shown = dumps(progress.to_wire())
        return self._report(
            "event", "progress", fitting(f'"attempt":{self.attempt},"progress":{shown}'), "progress", shown
        )

    def log(self, level: str, message: str, source: str | None) -> Call:
        if self._mask:
            message = self._mask.text(message)
        body = {"attempt": self.attempt, "level": level, "message": message, "source": source}
        return self._report("event", "log", members(body))

    def output(self, index: int, data: Any) -> Call:
        if self._mask:
            data = self._mask.json_value(data)
        return self._report(
            "event", "output", members({"attempt": self.attempt, "index": index, "data": data})
        )

    def checkpoint(self, value: str) -> Call:
        """Keep this JSON for the next attempt, secrets and all. No event: nobody but the task reads it."""
        return self._report("checkpoint", value)

    def end(
        self, status: Status, progress: Progress, *, result: str = "null", error: JobError | None = None
    ) -> Call:
        """The attempt ended the job; `result` is JSON already (the worker has checked that it can be)."""
        if self._mask:
            progress, result = self._mask.progress(progress), self._mask.json(result)
            error = error and self._mask.error(error)
        return self._report(
            "end", self._retention_ms, *end_args(status, self.attempt, progress, result, error)
        )

    def retry(self, error: JobError, delay_ms: int) -> Call:
        if self._mask:
            error = self._mask.error(error)
        return self._report(
            "retry", self._retention_ms, dumps(CANCELLED_ERROR.to_wire()), delay_ms, dumps(error.to_wire())
        )

    def release(self) -> Call:
        """Hand the job back without using up the attempt: the worker is leaving."""
        return self._report("release", self._retention_ms, dumps(CANCELLED_ERROR.to_wire()))

    def renew(self, lease_ms: int) -> Call:
        """A heartbeat; not a numbered report."""
        return job_call("renew", self.job_id, self.fence, lease_ms, self._history_limit)

    def _report(self, action: str, *args: str | int) -> Call:
        self._number += 1
        return job_call(
            "report",
            self.job_id,
            self.fence,
            self._number,
            action,
            self._history_limit,
            *args,
            result=True,
        )
