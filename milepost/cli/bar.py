"""The bar of a terminal: what the job says, what the worker is silent about, what the connection suffers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from milepost.cli import wording
from milepost.cli.views import describe
from milepost.events import AnyEvent, Gap, Logged, Output
from milepost.job import Job, Status

if TYPE_CHECKING:
    from milepost.client import Connection

REFRESH_PER_SECOND = 8

_STYLES = {
    Status.SUCCEEDED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.EXPIRED: "yellow",
    Status.RETRYING: "yellow",
}


class BarView:
    """Draws the job in place; log lines and outputs scroll by above it."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._job: Job | None = None
        self._connection: Connection | None = None
        self._retry_at = 0.0
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=REFRESH_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def event(self, event: AnyEvent, job: Job) -> None:
        self._job = job
        if isinstance(event, Logged | Output | Gap):
            self._console.print(Text(describe(event, job)))

    def connection(self, connection: Connection) -> None:
        self._connection = connection
        self._retry_at = self._clock() + connection.retry_seconds

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        trouble = ""
        if self._connection and self._connection.error:
            wait = max(0.0, self._retry_at - self._clock())
            trouble = f"{self._connection.error} Trying again in {wait:.0f} s; the job goes on."
        return render(self._job, trouble)


def render(job: Job | None, trouble: str = "") -> RenderableType:
    """Return what the terminal shows of a job, with connection trouble apart from the job's own."""
    lines: list[RenderableType] = [_row(job) if job else Text("waiting for the first word", style="dim")]
    if job and not job.done:
        if job.progress.message:
            lines.append(
                Text(wording.clean(job.progress.message), style="dim", no_wrap=True, overflow="ellipsis")
            )
        if job.waiting:
            style = "yellow" if wording.is_stuck(job) else "dim"
            lines.append(Text(wording.clean(job.waiting.message), style=style))
        if job.stalled:
            since = f" since {job.heartbeat_at}" if job.heartbeat_at else ""
            lines.append(Text(f"stalled: the worker has been silent{since}; waiting for it", style="yellow"))
    if trouble:
        lines.append(Text(f"connection: {trouble}", style="magenta"))
    return Group(*lines)


def _row(job: Job) -> RenderableType:
    progress = job.progress
    row = Table.grid(padding=(0, 1))
    row.add_column(no_wrap=True, overflow="ellipsis")
    for _ in range(4):
        row.add_column(no_wrap=True)
    style = _STYLES.get(job.status, "cyan") if isinstance(job.status, Status) else "cyan"
    words = wording.ending(job) if job.done else wording.headline(job)
    row.add_row(
        Text(words, style=style),
        _bar(job, style),
        Text(wording.percent(progress)),
        Text(wording.amount(progress)),
        Text("" if job.done else wording.pace(progress), style="dim"),
    )
    return row


def _bar(job: Job, style: str) -> RenderableType:
    """A bar without a percent moves while the job runs, and is left out once it has ended."""
    percent = job.progress.percent
    if percent is None and (job.done or job.status != Status.RUNNING):
        return Text("")
    return ProgressBar(
        total=None if percent is None else 100,
        completed=percent or 0,
        width=30,
        pulse=percent is None,
        complete_style=style,
        finished_style=style,
    )
