"""How Alembic reaches the database: through the connection that `records.schema` hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from milepost_api.records import table  # noqa: F401  (its tables are what migrations lead to)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
    compare_type=True,
    transaction_per_migration=False,  # all or nothing, under one lock
)

with context.begin_transaction():
    context.run_migrations()
