"""Watch one job until it ends; its outcome is the exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from milepost.cli import exits
from milepost.cli.options import Common
from milepost.cli.views import JsonView, LineView, QuietView, View
from milepost.job import Job, Status

if TYPE_CHECKING:
    from milepost.client import Client

GIVE_UP_SECONDS = 600.0
"""A deploy or a sleeping laptop is outlasted; a server that is gone for good is not waited for all night."""


def follow(client: Client, job_id: str, common: Common, *, give_up_seconds: float = GIVE_UP_SECONDS) -> int:
    """Show the job until its end and return the exit code.

    Ctrl-C leaves the job running and says how to come back to it. Raises `ClientError`.
    """
    try:
        with _terminated():
            job = _show(client, job_id, common, give_up_seconds)
    except KeyboardInterrupt:
        common.hint(
            f"\nNo longer watching; the job goes on. Watch it again: {common.command('watch', job_id)}. "
            f"Cancel it: {common.command('cancel', job_id)}."
        )
        return exits.INTERRUPTED
    return exits.OK if job.status == Status.SUCCEEDED else exits.JOB_FAILED


def _show(client: Client, job_id: str, common: Common, give_up_seconds: float) -> Job:
    from milepost.client.follower import folded

    # Asked first: a server that is not there, or does not know the job, is an answer and nothing to wait for.
    job = client.get(job_id)
    view = _view(common)
    try:
        events = client.follow(job_id, on_connection=view.connection, give_up_seconds=give_up_seconds)
        with closing(events):
            for event in events:
                job = folded(job, event) or job
                view.event(event, job)
    finally:
        view.close()
    _show_result(job, common)
    return job


def _view(common: Common) -> View:
    if common.as_json:
        return JsonView()
    if common.quiet:
        return QuietView()
    if sys.stdout.isatty():
        from rich.console import Console

        from milepost.cli.bar import BarView

        return BarView(Console(no_color=not common.colour(sys.stdout), highlight=False))
    return LineView(_out, lambda text: click.echo(text, err=True))


def _out(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _show_result(job: Job, common: Common) -> None:
    if common.as_json or common.quiet or job.status != Status.SUCCEEDED:
        return
    if job.result_omitted:
        common.hint(f"The result is large: {common.command('result', job.id)}")
    elif job.result is not None:
        from milepost.codec import dumps

        _out(f"result: {dumps(job.result)}")


@contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM unwind, so that the terminal gets its cursor back; the exit code is then 143."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(exits.TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
