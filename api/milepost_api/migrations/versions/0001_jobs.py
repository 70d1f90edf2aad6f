"""Jobs and their tags

Revision: 0001
Revises: none
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from milepost_api.records.types import JsonText, UTCDateTime, id_text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", id_text(), nullable=False),
        sa.Column("task", sa.String(200), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("queue", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("tags", JsonText(), nullable=False),
        sa.Column("metadata", JsonText(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("start_timeout_seconds", sa.Float(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("start_by", UTCDateTime(), nullable=True),
        sa.Column("batch_id", sa.String(64), nullable=True),
        sa.Column("parent_id", sa.String(64), nullable=True),
        sa.Column("idempotency_key", sa.String(255), nullable=True),
        sa.Column("fingerprint", sa.String(64), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.String(32), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("progress", JsonText(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", JsonText(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("run_at", UTCDateTime(), nullable=True),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.Column("dispatched_at", UTCDateTime(), nullable=True),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("idempotency_key", name="uq_jobs_idempotency_key"),
    )
    for name, columns in (
        ("batch_id", ["batch_id"]),
        ("created_at", ["created_at"]),
        ("parent_id", ["parent_id"]),
        ("queue", ["queue", "id"]),
        ("status", ["status", "id"]),
        ("task", ["task", "id"]),
    ):
        op.create_index(f"ix_jobs_{name}", "jobs", columns)
    for name, column, condition in (
        ("open", "id", ""),
        ("undispatched", "created_at", "dispatched_at IS NULL AND "),
        ("start_by", "start_by", "start_by IS NOT NULL AND "),
    ):
        op.create_index(
            f"ix_jobs_{name}",
            "jobs",
            [column],
            sqlite_where=sa.text(f"{condition}done = 0"),
            postgresql_where=sa.text(f"{condition}NOT done"),
        )
    op.create_table(
        "job_tags",
        sa.Column("tag", sa.String(128), nullable=False),
        sa.Column("job_id", id_text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_tags_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tag", "job_id", name="pk_job_tags"),
    )


def downgrade() -> None:
    op.drop_table("job_tags")
    op.drop_table("jobs")
