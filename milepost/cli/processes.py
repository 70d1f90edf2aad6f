"""`milepost api`, `worker` and `db`: hand over to packages that this one must not import (DESIGN §1).

They are found by name at run time, so that a client install needs nothing of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from milepost.errors import MissingExtra

# Everything after the name belongs to the other program, its --help included.
_HAND_OVER: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True, "allow_interspersed_args": False},
}


@click.command(short_help="Run the HTTP API.", **_HAND_OVER)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def api(arguments: tuple[str, ...]) -> int:
    """Run the HTTP API; arguments go to `python -m milepost_api`."""
    return run_main("milepost_api.main", arguments, extra="server")


@click.command(short_help="Run a worker for the tasks in MODULEs.", **_HAND_OVER)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> int:
    """Run a worker; arguments go to `python -m milepost_worker`."""
    return run_main("milepost_worker.main", arguments, extra="worker")


@click.group("db")
def database() -> None:
    """Upgrade the database of the API, or say where it stands."""


@database.command()
def upgrade() -> int:
    """Bring the database to the version of this code; do it before the new API starts."""
    return run_main("milepost_api.main", ("db", "upgrade"), extra="server")


@database.command()
def current() -> int:
    """Show the revision of the database, and the one this code needs."""
    return run_main("milepost_api.main", ("db", "current"), extra="server")


def run_main(module: str, arguments: Sequence[str], *, extra: str) -> int:
    """Run `main(argv)` of that module and return its exit code. Raises `MissingExtra`."""
    try:
        program = import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"This command needs {error.name}, which is not installed: pip install 'milepost[{extra}]'"
        ) from None
    return int(program.main(list(arguments)) or 0)
