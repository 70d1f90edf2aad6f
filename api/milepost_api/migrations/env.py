"""How Alembic reaches the database: through the connection that `records.schema` hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from milepost_api.records import derived, table  # noqa: F401  (its tables are what migrations lead to)


def _is_compared(name: str | None, kind: str, _parents: object) -> bool:
    # Each database has its own index for text; SQLite's brings tables of its own kind along.
    return kind != "table" or not (name or "").startswith(derived.SEARCH)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
    compare_type=True,
    include_name=_is_compared,
    transaction_per_migration=False,  # all or nothing, under one lock
)

with context.begin_transaction():
    context.run_migrations()
