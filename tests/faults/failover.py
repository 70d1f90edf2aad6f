"""The Redis of a house that fails over: a master, a replica, three Sentinels; to the house it looks like one server."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.sentinels import Sentinels


class FailingOver(Sentinels):
    """What a house asks of its Redis, answered by whichever server is the master."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, appendfsync="everysec")

    @property
    def process(self) -> Process:
        return self.master.process

    @property
    def server_ports(self) -> frozenset[int]:
        return frozenset({server.port for server in self.servers} | set(self.ports))

    def resume(self) -> None:
        """Let everything run: after a round that left something frozen or dead."""
        for server in self.servers:
            if server.process.alive:
                server.resume()
            else:
                self.start(server)

    async def lose_tail(self, seconds: float) -> RedisServer:
        """Cut the replica off, and kill the master so many seconds later: what it said in between is lost.

        Returns the new master.
        """
        master, (replica,) = self.master, self.replicas
        replica.pause()  # or it would come back at once
        with self.client(master) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")
        await asyncio.sleep(seconds)
        master.stop(signal.SIGKILL)
        replica.resume()
        return await asyncio.to_thread(self.wait_for_other_master, master)

    async def change_master(self) -> RedisServer:
        """Have the replica made the master, as an operator does. Returns it."""
        return await asyncio.to_thread(self.failover)

    async def whole(self) -> None:
        """Return when a failover could be made again."""
        self.resume()
        await asyncio.to_thread(self.wait_until_whole)


AnyRedis = RedisServer | FailingOver
