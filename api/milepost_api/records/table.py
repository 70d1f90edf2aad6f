"""The tables: what was asked for, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from milepost.job import Status
from milepost.tenants import DEFAULT_TENANT
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
    """

    __tablename__ = "jobs"
    __table_args__ = (UniqueConstraint("tenant", "idempotency_key", name="uq_jobs_tenant_idempotency_key"),)

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
    created_at: datetime = Field(sa_column=Column(UTCDateTime, nullable=False, index=True))
    start_by: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    batch_id: str | None = Field(default=None, max_length=64, index=True)
    parent_id: str | None = Field(default=None, max_length=64, index=True)
    retry_of: str | None = Field(default=None, sa_column=Column(id_text()))
    tenant: str = Field(
        default=DEFAULT_TENANT, max_length=64, sa_column_kwargs={"server_default": DEFAULT_TENANT}
    )
    idempotency_key: str | None = Field(default=None, max_length=255)
    fingerprint: str | None = Field(default=None, max_length=64)

    status: str = Field(default=Status.QUEUED.value, max_length=16)
    done: bool = False
    epoch: str | None = Field(default=None, max_length=32)
    version: int = 0
    attempt: int = 0
    progress: dict[str, Any] | None = Field(default=None, sa_column=Column(JsonText))
    result: str | None = Field(default=None, sa_column=Column(Text))
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(JsonText))
    traceback: str | None = Field(default=None, sa_column=Column(Text))
    run_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    started_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    expires_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    dispatched_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))
    updated_at: datetime | None = Field(default=None, sa_column=Column(UTCDateTime))


class TagRecord(SQLModel, table=True):
    """Which jobs carry a tag: an index, so that looking one up reads no other job."""

    __tablename__ = "job_tags"

    tag: str = Field(primary_key=True, max_length=128)
    job_id: str = Field(
        sa_column=Column(id_text(), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    )


_jobs = SQLModel.metadata.tables["jobs"].c
for _name in ("status", "task", "queue"):
    Index(f"ix_jobs_{_name}", _jobs[_name], _jobs.id)  # a filtered page is read in the order of its ids
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
