"""How a job is told in words. Pure: the same words stand in the bar and in plain lines."""

from __future__ import annotations

from milepost.job import Job, JobError, Progress, Status, WaitingReason

_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_VISIBLE[ord("\t")] = "    "


def clean(text: str) -> str:
    r"""Return text of a job as it may be shown: its control characters must not reach the terminal.

    >>> clean("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return text.translate(_VISIBLE)


def headline(job: Job) -> str:
    """Return the status with what belongs to it: which attempt, which step, whether it was asked to stop."""
    words = [str(job.status)]
    if job.max_attempts > 1 and job.attempt > 1:
        words.append(f"attempt {job.attempt}/{job.max_attempts}")
    if job.status == Status.RETRYING and job.error:
        words.append(f"after: {clean(job.error.message)}")
    if job.progress.step and not job.done:
        step = job.progress.step
        words.append(f"step {step.index}{f'/{step.count}' if step.count else ''} {clean(step.name)}")
    if job.cancel_requested and not job.done:
        words.append("asked to stop")
    if job.queue_position is not None and not job.done:
        words.append(f"{ordinal(job.queue_position)} in line")
    if is_stuck(job):
        words.append("no worker")
    return " · ".join(words)


def is_stuck(job: Job) -> bool:
    """Whether the job waits and nobody is there to take it."""
    none = (WaitingReason.NO_WORKER_FOR_QUEUE, WaitingReason.NO_WORKER_FOR_TASK)
    return job.waiting is not None and job.waiting.reason in none


def ordinal(number: int) -> str:
    """Return a place in line.

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 21, 112, 1003)]
    ['1st', '2nd', '3rd', '4th', '11th', '21st', '112th', '1,003rd']
    """
    teens = number % 100 in (11, 12, 13)
    return f"{number:,}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def percent(progress: Progress) -> str:
    """Return the percent, rounded down: 100 % is for what has succeeded.

    >>> percent(Progress(percent=99.96)), percent(Progress())
    ('99%', '')
    """
    return "" if progress.percent is None else f"{int(progress.percent)}%"


def amount(progress: Progress) -> str:
    """Return how much of how much.

    >>> amount(Progress(current=340, total=1000, unit="rows"))
    '340/1,000 rows'
    >>> amount(Progress(current=2_500_000, unit="bytes"))
    '2.5 MB'
    """
    if progress.current is None:
        return ""
    if progress.unit in ("B", "bytes"):
        total = f"/{size(progress.total)}" if progress.total is not None else ""
        return f"{size(progress.current)}{total}"
    total = f"/{number(progress.total)}" if progress.total is not None else ""
    return f"{number(progress.current)}{total} {clean(progress.unit or '')}".rstrip()


def pace(progress: Progress) -> str:
    """Return rate and remaining time, as far as they are known.

    >>> pace(Progress(rate=9.34, eta_seconds=71.2, unit="rows"))
    '9.3/s, 1:11 left'
    """
    parts = []
    if progress.rate is not None:
        is_bytes = progress.unit in ("B", "bytes")
        parts.append(f"{size(progress.rate) if is_bytes else number(progress.rate)}/s")
    if progress.eta_seconds is not None:
        parts.append(f"{duration(progress.eta_seconds)} left")
    return ", ".join(parts)


def ending(job: Job) -> str:
    """Return the last word on a job that has ended."""
    if job.status == Status.SUCCEEDED or job.error is None:
        return str(job.status)
    return f"{job.status}: {error_text(job.error)}"


def error_text(error: JobError) -> str:
    """Return an error in one line: its type where that says more than the message alone."""
    name = f"{clean(error.type)}: " if error.type else ""
    return f"{name}{clean(error.message)} ({clean(error.code)})"


def number(value: float) -> str:
    """Return a number as people read it: no needless decimals, thousands apart.

    >>> number(1000.0), number(9.34), number(0.004)
    ('1,000', '9.3', '0.004')
    """
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.2g}"


def size(value: float) -> str:
    """Return bytes in decimal units, as disks and networks are sold.

    >>> size(999), size(1500), size(2.5e9)
    ('999 B', '1.5 kB', '2.5 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time span.

    >>> duration(4.2), duration(71), duration(3700)
    ('0:04', '1:11', '1:01:40')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
