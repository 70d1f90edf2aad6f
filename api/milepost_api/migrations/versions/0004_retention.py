"""Old jobs are found by their end, and their tags by the job: both would be read through otherwise

Revision: 0004
Revises: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"])
    op.create_index("ix_job_tags_job_id", "job_tags", ["job_id"])


def downgrade() -> None:
    op.drop_index("ix_job_tags_job_id", "job_tags")
    op.drop_index("ix_jobs_finished_at", "jobs")
