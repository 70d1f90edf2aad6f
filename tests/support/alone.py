"""One API process with a Redis of its own and no worker: the tests play the jobs and count what they cost."""

from __future__ import annotations

import re
import resource
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis.asyncio import Redis

from milepost.log import JobLog
from milepost.redis import connect
from tests.support.jobs import PlayedJob
from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.sockets import Connection, connections_of
from tests.support.stack import Stack

WRITERS: Mapping[str, Mapping[str, str]] = {
    writer: {"MILEPOST_STREAM_WRITER": writer} for writer in ("lanes", "plain")
}
"""The ways in which streams are written, each with the settings that choose it: every test of them runs over all."""

PAGE = "https://app.example.org"
LONE_SETTINGS = {
    "MILEPOST_PING_SECONDS": "1",
    "MILEPOST_STALLED_READER_SECONDS": "2",
    "MILEPOST_REDIS_ANSWER_SECONDS": "60",
    "MILEPOST_CORS_ORIGINS": PAGE,
}


@dataclass(frozen=True)
class Alone:
    """The process, how to reach it, and what it holds."""

    stack: Stack
    redis: Redis
    joblog: JobLog

    @property
    def process(self) -> Process:
        return self.stack.apis[0]

    @property
    def port(self) -> int:
        return int(self.stack.url.rpartition(":")[2])

    async def job(self) -> PlayedJob:
        return await PlayedJob.running(self.joblog)

    def url(self, job: PlayedJob, query: str = "") -> str:
        return self.stack.stream_url(job.id) + query

    def request(self, job: PlayedJob, headers: str = "", *, method: str = "GET") -> bytes:
        """Return the request for a job's stream, for who speaks HTTP by hand."""
        return f"{method} /v1/jobs/{job.id}/status/stream HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def reader(self, job: PlayedJob) -> socket.socket:
        """Open a stream on a socket that takes next to nothing, and never read it."""
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.connect(("127.0.0.1", self.port))
        opened.sendall(self.request(job))
        return opened

    def connections(self) -> list[Connection]:
        """Return the kernel's view of its connections; those that it has closed are the kernel's own."""
        return [one for one in connections_of(self.port) if one.state in ("ESTAB", "CLOSE-WAIT", "SYN-RECV")]

    def resident_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def files(self) -> int:
        """How many files it has open. Not those of its database, which it opens when it has something to write."""
        process = psutil.Process(self.process.pid)
        while True:  # until two looks agree: in between a file of the database may be opened
            count = process.num_fds()
            of_database = sum(Path(one.path).name.startswith("milepost.db") for one in process.open_files())
            if count == process.num_fds():
                return int(count) - of_database

    async def watched(self) -> int:
        """How many jobs it has subscribed to."""
        return len(await self.redis.pubsub_channels("mp:*:live"))

    async def calls(self, command: str) -> int:
        """How many times Redis has run this command so far, for whomever, in scripts too."""
        found = (await self.redis.info("commandstats")).get(f"cmdstat_{command}", {"calls": 0})
        return int(found["calls"])


@asynccontextmanager
async def alone(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Alone]:
    """Run one until the block ends."""
    with many_files(), RedisServer(folder / "redis") as server:
        async with (
            Stack(folder, server, workers=0, settings=settings) as stack,
            connect(server.url) as redis,
        ):
            yield Alone(stack, redis, JobLog(redis))


def said(process: Process, words: str) -> int:
    """How many lines of its log hold these words."""
    return len(re.findall(re.escape(words), process.log.read_text("utf-8")))


@contextmanager
def many_files() -> Iterator[None]:
    """As many open files as the system allows, here and in what is started: connections have two ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
