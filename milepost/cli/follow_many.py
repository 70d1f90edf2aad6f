"""Watch many jobs until all have ended: a line for everything worth one, each with the id of its job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from milepost.cli import exits
from milepost.cli.options import Common, print_json
from milepost.cli.views import LineView
from milepost.events import AllEnded, AnyEvent, Ended, Gap, JobMissing, Selection, to_wire
from milepost.job import Job, Status

if TYPE_CHECKING:
    from milepost.client import Client


def follow_many(
    client: Client,
    job_ids: Sequence[str] | None,
    common: Common,
    *,
    tag: str | None,
    batch: str | None,
    give_up_seconds: float,
) -> int:
    """Show the jobs until their ends and return the exit code: that of the worst outcome. Raises `ClientError`."""
    from milepost.client.follower import Jobs

    shown, jobs = _Shown(common), Jobs()
    client.tasks()  # asked first: a server that is not there is an answer, and nothing to wait for
    try:
        events = client.follow_many(
            job_ids,
            tag=tag,
            batch=batch,
            on_connection=shown.trouble.connection,
            give_up_seconds=give_up_seconds,
        )
        with closing(events):
            for event in events:
                shown.event(event, jobs.after(event))
    except KeyboardInterrupt:
        common.hint("\nNo longer watching; the jobs go on.")
        return exits.INTERRUPTED
    return shown.exit_code


class _Shown:
    """What was shown of each job, and how they ended."""

    def __init__(self, common: Common) -> None:
        self._common, self._lines = common, dict[str, LineView]()
        self._missing = self._failed = False
        silent = common.quiet or common.as_json
        self.trouble = LineView(_nowhere, _nowhere if silent else _to_stderr)

    @property
    def exit_code(self) -> int:
        if self._failed:
            return exits.JOB_FAILED
        return exits.NOT_FOUND if self._missing else exits.OK

    def event(self, event: AnyEvent, job: Job | None) -> None:
        if isinstance(event, JobMissing):
            self._missing = True
        if isinstance(event, Ended) and job is not None:
            self._failed = self._failed or job.status != Status.SUCCEEDED
        if self._common.as_json:
            print_json(to_wire(event))
        elif not self._common.quiet:
            self._line(event, job)

    def _line(self, event: AnyEvent, job: Job | None) -> None:
        if isinstance(event, JobMissing):
            _to_stderr(
                f"{event.job_id}  {'was deleted' if event.reason == 'deleted' else 'there is no such job'}"
            )
        elif isinstance(event, Selection) and event.truncated:
            _to_stderr(
                "There are more jobs than can be watched on one connection; not all of them are shown."
            )
        elif isinstance(event, AllEnded):
            counts = ", ".join(f"{number} {status}" for status, number in sorted(event.by_status.items()))
            self._common.hint(f"{event.jobs} jobs: {counts}" if counts else "There are no such jobs.")
        elif isinstance(event, Gap) and event.job_id is None:
            _to_stderr("What happened meanwhile is not known; going on from the present state.")
        elif job is not None:
            self._of(job.id).event(event, job)
            if job.done and isinstance(event, Ended):
                del self._lines[job.id]

    def _of(self, job_id: str) -> LineView:
        if job_id not in self._lines:
            self._lines[job_id] = LineView(_prefixed(job_id), _nowhere)
        return self._lines[job_id]


def _prefixed(job_id: str) -> Callable[[str], None]:
    def out(line: str) -> None:
        click.echo(f"{job_id}  {line}")

    return out


def _to_stderr(line: str) -> None:
    click.echo(line, err=True)


def _nowhere(_line: str) -> None:
    pass
