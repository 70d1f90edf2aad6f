"""`milepost up`: everything on one machine."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from milepost.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from milepost.launch import Plan

NEEDED = ("milepost_api", "milepost_worker", "arq", "fastapi", "uvicorn", "sqlmodel")


@click.command()
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR in the environment).")
@click.option("-q", "--quiet", is_flag=True, help="Show the address and errors, not what the processes log.")
def up(modules: tuple[str, ...], no_color: bool, quiet: bool) -> int:
    """Run Redis, the API and a worker on this machine, until Ctrl-C.

    The worker offers the built-in demo tasks and those in MODULEs (names, as for import). Jobs survive a
    restart. A process that dies is started again; if it dies twice within a minute, or cannot be started,
    all stop.

    \b
    MILEPOST_PORT          where to listen (8000; 0: any free port)
    MILEPOST_DATA_DIR      what is kept (.milepost)
    MILEPOST_REDIS_URL     a running Redis, or its Sentinels, to use instead of an own one
    MILEPOST_REDIS_SERVER  the Redis or Valkey program to start
    """  # noqa: D301 -- \b is for click: what follows is not to be rewrapped
    import asyncio

    from milepost.launch import open_house, supervise
    from milepost.launch.terminal import Terminal

    _check_installed()
    plan = _plan(modules)
    colour = not no_color and not os.environ.get("NO_COLOR") and sys.stdout.isatty()
    terminal = Terminal(_output_of_its_own(), colour=colour, quiet=quiet)
    try:
        with open_house(plan.data_dir, lambda text: terminal.line("milepost", text)) as house:
            house.say_where(plan.url)
            house.end_leftovers()
            return asyncio.run(supervise(plan, house, terminal))
    finally:
        terminal.close()


def _output_of_its_own() -> TextIO:
    """Return a second way to standard output.

    A write that is stuck, because a terminal is paused, holds the lock of its stream, and whoever flushes
    `sys.stdout` would wait for it: click, and the interpreter when it ends.
    """
    again = os.dup(sys.stdout.fileno())
    return os.fdopen(again, "w", encoding=sys.stdout.encoding, errors="backslashreplace")


def _plan(modules: tuple[str, ...]) -> Plan:
    from milepost.launch import Plan, find_server
    from milepost.launch.embedded import free_port
    from milepost.launch.supervisor import check_port

    env = os.environ
    host, port, redis_url = (
        env.get("MILEPOST_HOST") or "127.0.0.1",
        _port(env),
        env.get("MILEPOST_REDIS_URL", ""),
    )
    if redis_url:
        from milepost.redis import check_url

        check_url(redis_url)
    check_port(host, port)
    return Plan(
        host=host,
        port=port or free_port(),
        data_dir=Path(env.get("MILEPOST_DATA_DIR") or ".milepost").expanduser().absolute(),
        env=env,
        modules=modules,
        server=None if redis_url else find_server(),
        redis_url=redis_url,
    )


def _port(env: os._Environ[str]) -> int:
    text = env.get("MILEPOST_PORT") or "8000"
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise SettingsError(
            f"MILEPOST_PORT is {text!r}: a port is a number from 0 to 65535 (0: any free one)."
        )
    return int(text)


def _check_installed() -> None:
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise MissingExtra(
            f"`milepost up` needs {', '.join(missing)}, not installed here: pip install 'milepost[all]'"
        )
