"""A master, its replicas and three Sentinels: real processes that fail over as they do in production."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from tests.support.ports import free_port
from tests.support.process import Process
from tests.support.redis import RedisServer, embedded_binary
from tests.support.wait import eventually_sync

SERVICE = "mymaster"
DOWN_AFTER_MS = 2000  # a machine of tests stands still for one second now and then, and nobody has died
FAILOVER_TIMEOUT_MS = 3000
FAILOVER_DEADLINE_SECONDS = 60.0
_AWAY = (RedisError, OSError)
T = TypeVar("T")

# What Sentinel does every few seconds it does here several times a second, so that a test need not wait for it: to
# look at its servers, to speak of them to the other Sentinels. A clock that stands still for a while, as the machine
# of the tests may, does not stop it from acting for the usual half a minute.
_HURRIED = {"info-period": 500, "publish-period": 500, "ask-period": 200, "tilt-trigger": 60_000}


class Sentinels:
    """One master, `replicas`, and three Sentinels with a quorum of two. The methods do not need an event loop.

    `config` goes to every Redis server; with `password` they want one, with `sentinel_password` the Sentinels do.
    `binary` is the server of all of them. `with` starts them all and waits until a failover could be made.

    >>> with Sentinels(tmp_path) as redis:
    ...     redis.url
    'redis+sentinel://127.0.0.1:40211,127.0.0.1:40213,127.0.0.1:40215/mymaster/0'
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 1,
        binary: Path | None = None,
        password: str | None = None,
        sentinel_password: str | None = None,
        **config: str,
    ) -> None:
        self.folder, self._password, self._sentinel_password = folder, password, sentinel_password
        self._binary = binary or embedded_binary()
        secret = {"requirepass": password, "masterauth": password} if password else {}
        # A replica that attaches is not to wait for others that might come.
        given: dict[str, Any] = {"repl-diskless-sync-delay": "0", **secret, **config}
        folders = [folder / f"server-{i + 1}" for i in range(1 + replicas)]
        self.servers = [RedisServer(one, binary=self._binary, **given) for one in folders]
        self.ports = [free_port() for _ in range(3)]
        self.sentinels: list[Process] = []
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        try:
            first, *others = self.servers
            for server in self.servers:
                self._exit.callback(server.process.kill)
                self._start(server)
            for server in others:
                with self.client(server) as client:
                    client.replicaof("127.0.0.1", first.port)
            for number, port in enumerate(self.ports, 1):
                self.sentinels.append(self._sentinel(number, port))
            self._until(self._ready, "the Sentinels know one another and a replica that has everything")
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def url(self) -> str:
        """What MILEPOST_REDIS_URL says to find the master, whichever it is."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        user = f":{self._password}@" if self._password else ""
        options = f"?sentinel_password={self._sentinel_password}" if self._sentinel_password else ""
        return f"redis+sentinel://{user}{hosts}/{SERVICE}/0{options}"

    @property
    def master(self) -> RedisServer:
        """The server that the Sentinels call the master at the moment."""
        port = self._majority()
        return next(server for server in self.servers if server.port == port)

    @property
    def replicas(self) -> list[RedisServer]:
        """The others, alive or not."""
        master = self.master
        return [server for server in self.servers if server is not master]

    # What happens to them.

    def kill_master(self) -> RedisServer:
        """SIGKILL to the master; returns it. `wait_for_other_master` waits for what follows."""
        master = self.master
        master.stop(signal.SIGKILL)
        return master

    def pause_master(self) -> RedisServer:
        """SIGSTOP to the master; returns it: it does not know that it is replaced until it is resumed."""
        master = self.master
        master.pause()
        return master

    def failover(self) -> RedisServer:
        """Have another server made the master, as an operator does; returns the new one."""
        before = self.master
        self._until(self._can_fail_over, "a failover can be made")

        def other() -> RedisServer | None:
            # A Sentinel's picture of the replicas is a moment old: it may know none to promote yet, or give up what
            # it has begun, without a word. While a failover is under way it refuses another.
            if self._named(self.ports[0]) == before.port:
                with self.sentinel() as sentinel, suppress(ResponseError):
                    sentinel.execute_command("SENTINEL FAILOVER", SERVICE)
            return self._other_master(before)

        return self._until(other, "another server is the master")

    def start(self, server: RedisServer) -> None:
        """Start a server that was killed. It comes as a master, with what is on its disk, until it is told better."""
        self._start(server)

    def wait_for_other_master(self, before: RedisServer) -> RedisServer:
        """Return the new master when every Sentinel names it and it takes writes."""
        return self._until(lambda: self._other_master(before), "another server is the master")

    def _other_master(self, before: RedisServer) -> RedisServer | None:
        master = self.master
        if master is before or {self._named(port) for port in self.ports} != {master.port}:
            return None
        with self.client(master) as client:
            return master if client.info("replication")["role"] == "master" else None

    def wait_for_replica(self, server: RedisServer) -> None:
        """Return when this server follows the master and has all that the master has."""
        self._until(lambda: self._follows(server), f"{server.folder.name} is a replica")

    def wait_until_whole(self) -> None:
        """Return when every server runs as master or replica, and a failover could be made again."""
        self._until(self._ready, "the master has its replicas again")

    # Asking them.

    def client(self, server: RedisServer | None = None) -> Redis:
        """Return a client of this server, or of the present master; it sees replies as bytes."""
        port = (server or self.master).port
        return Redis(host="127.0.0.1", port=port, password=self._password, socket_timeout=5)

    def sentinel(self, number: int = 1) -> Redis:
        """Return a client of one of the Sentinels, counted from 1."""
        return self._sentinel_at(self.ports[number - 1])

    def state(self, port: int | None = None) -> dict[str, Any]:
        """Return what a Sentinel knows of the master: `flags`, `num-slaves`, `num-other-sentinels`, ..."""
        with self._sentinel_at(port or self.ports[0]) as sentinel:
            # Said in two words, it is not parsed: a list of names and values in turn.
            flat = cast("list[bytes]", sentinel.execute_command("SENTINEL", "MASTER", SERVICE))
        return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}

    # How.

    def _start(self, server: RedisServer) -> None:
        server.process.start()
        server.process.wait_until(lambda: self._pings(server), ignoring=_AWAY)

    def _pings(self, server: RedisServer) -> bool:
        with self.client(server) as client:
            return bool(client.ping())

    def _sentinel(self, number: int, port: int) -> Process:
        folder = self.folder / f"sentinel-{number}"
        folder.mkdir(parents=True)
        conf = folder / "sentinel.conf"  # it writes there what it learns
        conf.write_text("\n".join(self._lines(folder, port)) + "\n", "utf-8")
        argv: Sequence[str | Path] = [self._binary, conf, "--sentinel"]
        process = Process(f"sentinel-{number}", argv, log=folder / "sentinel.log")
        self._exit.callback(process.kill)
        process.start()
        process.wait_until(lambda: self._hurry(port), ignoring=_AWAY)
        return process

    def _lines(self, folder: Path, port: int) -> list[str]:
        lines = [
            f'dir "{folder}"',
            "bind 127.0.0.1",
            f"port {port}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.servers[0].port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}",
        ]
        if self._password:
            lines.append(f"sentinel auth-pass {SERVICE} {self._password}")
        if self._sentinel_password:
            lines.append(f"requirepass {self._sentinel_password}")
        return lines

    def _hurry(self, port: int) -> bool:
        with self._sentinel_at(port) as sentinel:
            flat = [word for pair in _HURRIED.items() for word in pair]
            return bool(sentinel.execute_command("SENTINEL", "DEBUG", *flat))

    def _sentinel_at(self, port: int) -> Redis:
        return Redis(
            host="127.0.0.1", port=port, password=self._sentinel_password, socket_timeout=5, protocol=2
        )

    def _named(self, port: int) -> int:
        with self._sentinel_at(port) as sentinel:
            _, master = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(master)

    def _majority(self) -> int:
        named = [self._named(port) for port in self.ports]
        return max(named, key=named.count)

    def _ready(self) -> bool:
        for port in self.ports:
            state = self.state(port)
            if state["flags"] != "master" or int(state["num-other-sentinels"]) != len(self.ports) - 1:
                return False
            if int(state["num-slaves"]) != len(self.servers) - 1:
                return False
        return self._can_fail_over()

    def _can_fail_over(self) -> bool:
        return all(self._follows(server) for server in self.replicas)

    def _follows(self, server: RedisServer) -> bool:
        with self.client(server) as client:
            info = client.info("replication")
        follows = info["role"] == "slave" and info["master_link_status"] == "up"
        return bool(follows and info["master_port"] == self.master.port)

    def _until(self, ready: Callable[[], T | None], message: str) -> T:
        return eventually_sync(ready, message, deadline=FAILOVER_DEADLINE_SECONDS, ignoring=_AWAY)
