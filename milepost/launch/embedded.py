"""The Redis that `milepost up` brings along: durable, and for the processes of this machine and user only."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

from milepost.launch.child import Command

STOP_SECONDS = 15.0
"""A clean stop writes the rest of the append-only file, which a slow disk may take its time for."""


NOISE = ("Reading config from stdin", "Memory overcommit", "scheduling shutdown", "ready to exit")
"""What it says at every start and stop; the advice on overcommit is for servers larger than this one."""


class EmbeddedRedis:
    """Where the server listens, under which password, with which files.

    It listens on TCP, because redis-py refuses keep-alive options on unix sockets; any local user can
    reach a port, hence a password, made anew for each run. It travels by standard input and
    environment, which other users cannot read, not by the command line, which they can.
    """

    def __init__(self, program: Path, directory: Path) -> None:
        self._program, self._directory = program, directory
        self._password = secrets.token_urlsafe(24)
        self._port = free_port()

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def command(self, env: Mapping[str, str]) -> Command:
        """Return how to start it; makes the directory of its data."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Command(
            name="redis",
            argv=(str(self._program), "-"),
            env=env,
            stop_seconds=STOP_SECONDS,
            stdin=self.config().encode(),
            noise=NOISE,
            hurried_seconds=None,  # it always gets to write what it was given
        )

    def config(self) -> str:
        """Return redis.conf. See https://valkey.io/topics/persistence/ for the first four."""
        lines = (
            "appendonly yes",
            "appendfsync everysec",  # a crash of the machine loses a second; a crash of the process nothing
            'save ""',
            f"dir {_quoted(self._directory)}",
            "maxmemory-policy noeviction",  # an evicted job would be a lost one
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",
            "tcp-backlog 128",  # the default, 511, draws a warning on every second machine
            "daemonize no",
            "loglevel warning",
        )
        return "\n".join(lines) + "\n"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    """Quote as redis.conf wants it: inside double quotes only these two are special."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
