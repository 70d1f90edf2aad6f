"""Lists in the order of acceptance, an index for every filter, and text

Revision: 0003
Revises: 0002
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from milepost.errors import SettingsError
from milepost_api.records import derived
from milepost_api.records.order import sort_key
from milepost_api.records.searchable import searchable
from milepost_api.records.types import UTCDateTime, id_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PAGE = 1000
OLD_INDEXES = {
    "batch_id": ["batch_id"],
    "created_at": ["created_at"],
    "queue": ["queue", "id"],
    "status": ["status", "id"],
    "task": ["task", "id"],
}
INDEXES = {
    "status": ["tenant", "status", "sort_key"],
    "task": ["tenant", "task", "status", "sort_key"],
    "queue": ["tenant", "queue", "status", "sort_key"],
    "task_queue": ["tenant", "task", "queue", "status", "sort_key"],
}
WITH_BATCH = sa.text("batch_id IS NOT NULL")


def upgrade() -> None:
    _refuse_old_sqlite()
    for name in OLD_INDEXES:
        op.drop_index(f"ix_jobs_{name}", "jobs")
    op.add_column("jobs", sa.Column("sort_key", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("search", sa.Text(), nullable=False, server_default=""))
    op.create_index(
        "ix_jobs_filling", "jobs", ["created_at", "id"]
    )  # it makes each page of `_fill` a quick one
    _fill()
    op.drop_index("ix_jobs_filling", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("sort_key", existing_type=sa.BigInteger(), nullable=False)
        jobs.create_unique_constraint("uq_jobs_sort_key", ["sort_key"])
    for name, columns in INDEXES.items():
        op.create_index(f"ix_jobs_{name}", "jobs", columns)
    op.create_index(
        "ix_jobs_batch_id",
        "jobs",
        ["tenant", "batch_id", "status", "sort_key", "task", "queue"],
        sqlite_where=WITH_BATCH,
        postgresql_where=WITH_BATCH,
    )
    _widen_tags()
    derived.create_search(op.get_bind())


def downgrade() -> None:
    derived.drop_search(op.get_bind())
    _narrow_tags()
    for name in (*INDEXES, "batch_id"):
        op.drop_index(f"ix_jobs_{name}", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint("uq_jobs_sort_key", type_="unique")
        jobs.drop_column("search")
        jobs.drop_column("sort_key")
    for name, columns in OLD_INDEXES.items():
        op.create_index(f"ix_jobs_{name}", "jobs", columns)


def _refuse_old_sqlite() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    version = str(connection.scalar(sa.text("SELECT sqlite_version()")))
    if tuple(int(part) for part in version.split(".")[:2]) < (3, 34):
        raise SettingsError(
            f"This Python has SQLite {version}, and the search of jobs needs 3.34 (of 2020) with FTS5. "
            "Use a newer Python, or PostgreSQL (MILEPOST_DATABASE_URL)."
        )


# --- jobs that are there already -----------------------------------------------------------------

_table = sa.table(
    "jobs",
    *(
        sa.column(name, sa.Text)
        for name in ("task", "batch_id", "tags", "metadata", "progress", "error", "search")
    ),
    sa.column("id", id_text()),
    sa.column("created_at", UTCDateTime),
    sa.column("sort_key", sa.BigInteger),
)
_jobs = _table.c


def _fill() -> None:
    connection, last = op.get_bind(), 0
    change = (
        sa.update(_table)
        .where(_jobs.id == sa.bindparam("job_id"))
        .values(sort_key=sa.bindparam("new_key"), search=sa.bindparam("new_search"))
    )
    for page in _pages(connection):
        changes = []
        for row in page:
            last = max(
                last + 1, sort_key(row.created_at)
            )  # jobs of one moment: by their ids, as they were listed
            changes.append({"job_id": row.id, "new_key": last, "new_search": _search_of(row)})
        connection.execute(change, changes)


def _pages(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    """Return all jobs in the order they get, a page at a time: a million at once would not fit."""
    names = ("id", "created_at", "task", "batch_id", "tags", "metadata", "progress", "error")
    place = sa.tuple_(_jobs.created_at, _jobs.id)
    query = sa.select(*(_jobs[name] for name in names)).order_by(_jobs.created_at, _jobs.id).limit(PAGE)
    page = connection.execute(query).all()
    while page:
        yield page
        last = page[-1]
        after = place > sa.tuple_(sa.literal(last.created_at, UTCDateTime), sa.literal(last.id, id_text()))
        page = connection.execute(query.where(after)).all()


def _search_of(row: Any) -> str:
    return searchable(
        job_id=row.id,
        task=row.task,
        batch=row.batch_id,
        tags=json.loads(row.tags),
        metadata=json.loads(row.metadata),
        progress=json.loads(row.progress or "null"),
        error=json.loads(row.error or "null"),
    )


# --- tags ----------------------------------------------------------------------------------------


def _widen_tags() -> None:
    op.execute("CREATE TABLE job_tags_before AS SELECT tag, job_id FROM job_tags")
    op.drop_table("job_tags")
    op.create_table(
        "job_tags",
        sa.Column("job_id", id_text(), nullable=False),
        sa.Column("tag", sa.String(128), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("task", sa.String(200), nullable=False),
        sa.Column("queue", sa.String(64), nullable=False),
        sa.Column("sort_key", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_tags_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "tag", name="pk_job_tags"),
    )
    op.execute(
        "INSERT INTO job_tags (job_id, tag, tenant, status, task, queue, sort_key) "
        "SELECT id, tag, tenant, status, task, queue, sort_key FROM job_tags_before JOIN jobs ON id = job_id"
    )
    op.drop_table("job_tags_before")
    op.create_index("ix_job_tags_tag", "job_tags", ["tenant", "tag", "status", "sort_key", "queue"])
    op.create_index("ix_job_tags_task", "job_tags", ["tenant", "tag", "task", "status", "sort_key", "queue"])


def _narrow_tags() -> None:
    op.execute("CREATE TABLE job_tags_before AS SELECT tag, job_id FROM job_tags")
    op.drop_table("job_tags")
    op.create_table(
        "job_tags",
        sa.Column("tag", sa.String(128), nullable=False),
        sa.Column("job_id", id_text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_tags_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tag", "job_id", name="pk_job_tags"),
    )
    op.execute("INSERT INTO job_tags (tag, job_id) SELECT tag, job_id FROM job_tags_before")
    op.drop_table("job_tags_before")
