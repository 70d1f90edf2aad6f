"""What a database says: recognised without the driver that says it."""

from __future__ import annotations

import subprocess
import sys

from milepost_api.records.engine import is_of_database

from tests.support.process import ROOT, python_environment

WITHOUT_ASYNCPG = """
import sys

sys.modules["asyncpg"] = None
from milepost_api import app, database, main
"""


def test_a_refusal_of_postgresql_is_known_by_its_state() -> None:
    """The driver raises its own errors to whoever connects."""

    class InvalidCatalogNameError(Exception):
        sqlstate = "3D000"

    assert is_of_database(InvalidCatalogNameError("database does not exist"))
    assert not is_of_database(ValueError("a bug"))


def test_the_api_needs_no_driver_of_a_database_that_it_does_not_use() -> None:
    """asyncpg comes with the extra `postgres` only."""
    argv = [sys.executable, "-c", WITHOUT_ASYNCPG]
    subprocess.run(argv, check=True, timeout=60, cwd=ROOT, env=python_environment({}))
