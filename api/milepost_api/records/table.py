"""The tables: what was asked for, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Text, UniqueConstraint, false, inspect, text
from sqlalchemy.orm import configure_mappers
from sqlmodel import Field, SQLModel

from milepost.job import Status
from milepost.tenants import DEFAULT_TENANT
from milepost_api.records.order import sort_key
from milepost_api.records.searchable import searchable
from milepost_api.records.types import JsonText, UTCDateTime, id_text

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = NAMES  # migrations can drop only what has a name


class JobRecord(SQLModel, table=True):
    """One accepted job. A row that is committed is a promise that the job reaches an end.

    The first half is what was asked for and never changes. The second half is what the recorder learned
    from the log: `version` is the `seq` of the last event applied, within `epoch`; `updated_at` its time.

    `sort_key` is the place in every list (see `records.order`), `search` the text it is found by; both are filled in
    when the record is written.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("tenant", "idempotency_key", name="uq_jobs_tenant_idempotency_key"),
        UniqueConstraint("sort_key", name="uq_jobs_sort_key"),
    )

    id: str = Field(sa_column=Column(id_text(), primary_key=True))
    task: str = Field(max_length=200)
    params: str = Field(sa_column=Column(Text, nullable=False))
    queue: str = Field(default="default", max_length=64)
    priority: int = 0
    tags: list[str] = Field(default_factory=list, sa_column=Column(JsonText, nullable=False))
    # `metadata` is SQLModel's own name for its tables
    meta: dict[str, Any] = Field(default_factory=dict, sa_column=Column("metadata", JsonText, nullable=False))
    max_attempts: int = 1
    timeout_seconds: float | None = None
    start_timeout_seconds: float | None = None
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False))
    sort_key: int = Field(default=None, sa_column=Column(BigInteger, nullable=False))
    start_by: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    batch_id: str | None = Field(default=None, max_length=64)
    parent_id: str | None = Field(default=None, max_length=64, index=True)
    retry_of: str | None = Field(default=None, sa_column=Column(id_text()))
    tenant: str = Field(
        default=DEFAULT_TENANT, max_length=64, sa_column_kwargs={"server_default": DEFAULT_TENANT}
    )
    idempotency_key: str | None = Field(default=None, max_length=255)
    fingerprint: str | None = Field(default=None, max_length=64)

    status: str = Field(default=Status.QUEUED.value, max_length=16)
    done: bool = False
    cancel_requested: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    epoch: str | None = Field(default=None, max_length=32)
    version: int = 0
    attempt: int = 0
    progress: dict[str, Any] | None = Field(default=None, sa_column=Column(JsonText))
    result: str | None = Field(default=None, sa_column=Column(Text))
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(JsonText))
    traceback: str | None = Field(default=None, sa_column=Column(Text))
    run_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    started_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime, index=True))
    expires_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    dispatched_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    updated_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    search: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=""))


class TagRecord(SQLModel, table=True):
    """One tag of a job, with what lists are filtered by beside it, so that a page is read from the index alone.

    The database keeps `status` level with that of the job (see `records.derived`); the rest never changes.
    """

    __tablename__ = "job_tags"

    job_id: str = Field(
        sa_column=Column(id_text(), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    )
    tag: str = Field(primary_key=True, max_length=128)
    tenant: str = Field(max_length=64)
    status: str = Field(max_length=16)
    task: str = Field(max_length=200)
    queue: str = Field(max_length=64)
    sort_key: int = Field(sa_column=Column(BigInteger, nullable=False))


def fresh_record(**given: Any) -> JobRecord:
    """Return `JobRecord(**given)`, a hundred times as fast.

    SQLModel's constructor sets each of forty attributes through the machinery that tells a session what has changed.
    A record that is only to be inserted has no session, so it is filled as SQLAlchemy fills what it has read.
    """
    record: JobRecord = _manager.new_instance()
    record.__dict__.update(_DEFAULTS)
    record.__dict__.update((name, make()) for name, make in _MADE.items())
    record.__dict__.update(given)
    return record


Row = dict[str, Any]


def rows_of(record: JobRecord) -> tuple[Row, list[Row]]:
    """Return the row of a job, its sort key and its search text filled in, and those of its tags."""
    record.sort_key = record.sort_key or sort_key(record.created_at)
    record.search = searchable(
        job_id=record.id,
        task=record.task,
        queue=record.queue,
        status=record.status,
        batch=record.batch_id,
        tags=record.tags,
        metadata=record.meta,
        progress=record.progress,
        error=record.error,
    )  # what the end of the job adds is written with it (see `records.standing`)
    row = {column.key: getattr(record, _ATTRIBUTES.get(column.key, column.key)) for column in _jobs}
    copied = {name: row[name] for name in ("tenant", "status", "task", "queue", "sort_key")}
    return row, [{"job_id": record.id, "tag": tag, **copied} for tag in dict.fromkeys(record.tags)]


configure_mappers()  # the first constructor would have done it
_manager: Any = inspect(JobRecord).class_manager
_fields = JobRecord.model_fields.items()
_DEFAULTS = {name: field.default for name, field in _fields if not field.is_required()}
_MADE: dict[str, Any] = {name: field.default_factory for name, field in _fields if field.default_factory}
_ATTRIBUTES = {"metadata": "meta"}
_jobs = SQLModel.metadata.tables["jobs"].c
_tags = SQLModel.metadata.tables["job_tags"].c
# What a list is filtered by, then its order. A list of several statuses is merged from one of each (see
# `records.listing`), so that every list reads a page from its index and nothing else, however rare what it asks for.
for _name, _columns in (
    ("status", (_jobs.status,)),
    ("task", (_jobs.task, _jobs.status)),
    ("queue", (_jobs.queue, _jobs.status)),
    ("task_queue", (_jobs.task, _jobs.queue, _jobs.status)),
):
    Index(f"ix_jobs_{_name}", _jobs.tenant, *_columns, _jobs.sort_key)
# Other filters on a batch or a tag are answered from these indexes as well: from the columns behind the order.
Index(
    "ix_jobs_batch_id",
    *(_jobs.tenant, _jobs.batch_id, _jobs.status, _jobs.sort_key, _jobs.task, _jobs.queue),
    sqlite_where=text("batch_id IS NOT NULL"),
    postgresql_where=text("batch_id IS NOT NULL"),
)
Index("ix_job_tags_tag", _tags.tenant, _tags.tag, _tags.status, _tags.sort_key, _tags.queue)
Index("ix_job_tags_task", _tags.tenant, _tags.tag, _tags.task, _tags.status, _tags.sort_key, _tags.queue)
# Small partial indexes: the dispatcher and the caretaker look every second, among the jobs not done only.
# Each condition is spelled as SQLAlchemy spells it in queries: SQLite compares the texts.
for _name, _column, _condition in (
    ("open", _jobs.id, ""),
    ("undispatched", _jobs.created_at, "dispatched_at IS NULL AND "),
    ("start_by", _jobs.start_by, "start_by IS NOT NULL AND "),
):
    Index(
        f"ix_jobs_{_name}",
        _column,
        sqlite_where=text(f"{_condition}done = 0"),
        postgresql_where=text(f"{_condition}NOT done"),
    )
