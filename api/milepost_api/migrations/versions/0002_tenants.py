"""Whose job it is, and which job it repeats; idempotency keys are unique per tenant

Revision: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from milepost_api.records.types import id_text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("retry_of", id_text(), nullable=True))
        jobs.add_column(sa.Column("tenant", sa.String(64), nullable=False, server_default="default"))
        jobs.drop_constraint("uq_jobs_idempotency_key", type_="unique")
        jobs.create_unique_constraint("uq_jobs_tenant_idempotency_key", ["tenant", "idempotency_key"])


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint("uq_jobs_tenant_idempotency_key", type_="unique")
        jobs.create_unique_constraint("uq_jobs_idempotency_key", ["idempotency_key"])
        jobs.drop_column("tenant")
        jobs.drop_column("retry_of")
