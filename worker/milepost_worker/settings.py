"""Settings of a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import field_validator
from pydantic_settings import NoDecode

from milepost.settings import Settings
from milepost.tasks import QUEUE_NAME, RESULT_BYTES


class WorkerSettings(Settings):
    """Read from `MILEPOST_*`; the command line wins."""

    concurrency: Annotated[int, Ge(1)] = 10  # jobs at once; threads of `def` tasks included
    queues: Annotated[tuple[str, ...], NoDecode, MinLen(1)] = ("default",)  # in order of priority
    drain_seconds: Annotated[float, Ge(0)] = 20  # after SIGTERM running jobs may finish for so long
    stop_grace_seconds: Annotated[float, Ge(0)] = 5  # a cancelled task may clean up for so long
    burst: bool = False  # leave when nothing is due any more
    max_jobs_before_exit: Annotated[int, Ge(1)] | None = (
        None  # leave after so many attempts, for a supervisor
    )
    redis_wait_seconds: Annotated[float, Ge(0)] = (
        30  # at the start; later Redis may be away for as long as it likes
    )
    metrics_port: Annotated[int, Ge(0), Le(65_535)] | None = None  # 0: any free one
    metrics_host: Annotated[str, MinLen(1)] = "127.0.0.1"  # whoever reaches it reads names of tasks
    poll_seconds: Annotated[float, Ge(0.05)] = 0.5  # only if a wake-up was lost
    # records of `logging` from this level on become events of the jobs they are logged in
    capture_logs_level: Literal["debug", "info", "warning", "error", "critical"] | None = None
    # a longer result fails its job: it would be held by Redis, the database and every reader at once
    result_limit_bytes: Annotated[int, Ge(1024), Le(RESULT_BYTES)] = 8 * 1024 * 1024
    process_memory_limit_mb: Annotated[float, Gt(0)] | None = None  # of a `process=True` task that sets none
    files_root: Path = Path()  # what files.checksum and csv.profile may read; default: the working directory

    @field_validator("queues", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("queues")
    @classmethod
    def _names(cls, queues: tuple[str, ...]) -> tuple[str, ...]:
        for queue in queues:
            if not QUEUE_NAME.fullmatch(queue):
                raise ValueError(f"{queue!r} is no queue name: use letters, digits, '_', '.' and '-'")
        return queues
