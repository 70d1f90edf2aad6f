"""Names in Redis. Keys of one job share the hash tag `{id}`; the rest is shared by all jobs."""

from __future__ import annotations

LEASES = "mp:leases"
"""Sorted set: job id → when its lease ends, in ms since 1970 by Redis's clock."""

LIFECYCLE = "mp:lifecycle"
"""Stream of every `status` and `end` event, for the recorder."""

CARETAKER = "mp:caretaker"
"""Lock of the one process that does the chores."""

KEEPSAKE = "mp:keepsake"
"""Names the generation whose jobs were all compared with the records; when it is gone, so is everything else."""

GENERATION = "mp:generation"
"""Names the present generation of this memory (see `generation.py`)."""

GENERATION_SINCE = "mp:generation:since"
"""When it followed another one, in ms since 1970 by Redis's clock. There is none while the first one lasts."""

TASKS = "mp:tasks"
"""Hash: task name → its catalogue entry as JSON."""

WORKERS = "mp:workers"
"""Sorted set: worker id → when its announcement ends, in ms since 1970 by Redis's clock."""

WORKER_INFO = "mp:workers:info"
"""Hash: worker id → what it says of itself as JSON."""

JOBS_CHANNEL = "mp:jobs"
"""The channel on which the log announces jobs that are created or forgotten (see `announcements.py`)."""


def state_key(job_id: str) -> str:
    return f"mp:{{{job_id}}}:state"


def events_key(job_id: str) -> str:
    return f"mp:{{{job_id}}}:events"


def result_key(job_id: str) -> str:
    return f"mp:{{{job_id}}}:result"


def live_channel(job_id: str) -> str:
    """The channel on which the log announces every event of this job."""
    return f"mp:{{{job_id}}}:live"


def queue_key(queue: str) -> str:
    """Arq's sorted set of deliveries for one queue."""
    return f"mp:queue:{queue}"


def wake_channel(queue: str) -> str:
    """Tells idle workers of a queue that something is due in so many ms."""
    return f"mp:wake:{queue}"


def control_channel(worker: str) -> str:
    """Tells one worker to stop a job."""
    return f"mp:control:{worker}"


def bookmark_key(name: str) -> str:
    return f"mp:bookmark:{name}"


def bookmarks_channel(process: str) -> str:
    """Asks one process to write down a bookmark of a stream that it believes to be read still."""
    return f"mp:bookmarks:{process}"
