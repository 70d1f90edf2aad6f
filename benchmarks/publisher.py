"""Publishes marked log lines at a steady rate: through Milepost's job log, by Redis PUBLISH, or into nchan.

A process of its own, which takes orders on stdin: `<events> <per second>`, and answers each on stdout with the
seconds it took and the CPU seconds it used.

Log lines, because every reader must get every one of them: of progress, a reader that is behind gets the latest.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import hiredis

from milepost import times
from milepost.log import JobLog, NewJob
from milepost.log.generation import known_to
from milepost.redis import connect

TEXT = "as long as a line of log is: 20 of 4,000 pictures resized"
AT_ONCE = 100
"""Events in one round trip when the publisher is behind its rate: at 10,000 a second, those of 10 ms."""


class Way(Protocol):
    """A way to publish: takes the numbers of the jobs that get an event each, returns when all are taken in."""

    def send(self, jobs: Sequence[int]) -> None: ...


def message() -> str:
    return f"{TEXT} @{time.monotonic_ns()}@"


def event(job_id: str, seq: int) -> bytes:
    """Return what Milepost's events hold, for the peers: the same size, so that the same bytes are written."""
    body = {
        "type": "log",
        "job_id": job_id,
        "seq": seq,
        "at": datetime.now(UTC).isoformat(),
        "attempt": 1,
        "level": "info",
        "message": message(),
        "source": None,
    }
    return json.dumps(body, separators=(",", ":")).encode()


class Pipe:
    """Commands to Redis, packed and read by hiredis: redis-py's own pipeline costs more than Redis itself."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port or 6379))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = hiredis.Reader()

    def run(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> None:
        """Send the commands together and wait for their replies. Raises what the first that failed says."""
        self._socket.sendall(
            b"".join(
                hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub wants a tuple of one
                for command in commands
            )
        )
        left = len(commands)
        while left:
            self._replies.feed(self._socket.recv(1 << 16))
            while left and (reply := self._replies.gets()) is not False:
                left -= 1
                if isinstance(reply, Exception):
                    raise reply


class ByJobLog:
    """Milepost: every event is numbered, kept and published by the job log's own script."""

    def __init__(self, url: str, jobs: Sequence[str]) -> None:
        self._sha: Callable[[Any], str]
        self._reports = asyncio.run(self._claim(url, jobs))
        self._pipe = Pipe(url)

    async def _claim(self, url: str, jobs: Sequence[str]) -> list[Any]:
        async with connect(url) as redis:
            log = JobLog(redis)
            taken = await log.take(
                ["bench"], "bench", len(jobs), number=1, lease_seconds=900, room={"bench": -1}
            )
            claims = {claim.job_id: claim for claim in taken.claims}
            reports = [log.reports(claims[job_id]) for job_id in jobs]
            await log.call(reports[0].log("info", "the first report loads the scripts", None))
            generation = known_to(redis)
            self._sha = lambda call: call.script.of(generation).sha
        return reports

    def send(self, jobs: Sequence[int]) -> None:
        calls = [self._reports[job].log("info", message(), None) for job in jobs]
        self._pipe.run(
            [("EVALSHA", self._sha(call), len(call.keys), *call.keys, *map(str, call.args)) for call in calls]
        )


class ByPublish:
    """The usual recipe: PUBLISH, nothing kept."""

    def __init__(self, url: str, jobs: Sequence[str]) -> None:
        self._pipe, self._jobs, self._seq = Pipe(url), jobs, 0

    def send(self, jobs: Sequence[int]) -> None:
        commands = []
        for job in jobs:
            self._seq += 1
            commands.append(("PUBLISH", f"job:{self._jobs[job]}", event(self._jobs[job], self._seq)))
        self._pipe.run(commands)


class ByPost:
    """nchan: POST, pipelined on one connection. Of its ways in, the fastest: its websocket takes a tenth of it."""

    def __init__(self, url: str, jobs: Sequence[str]) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._jobs, self._seq = jobs, 0

    def send(self, jobs: Sequence[int]) -> None:
        requests = []
        for job in jobs:
            self._seq += 1
            body = event(self._jobs[job], self._seq)
            lines = f"POST /publish/{self._jobs[job]} HTTP/1.1\r\nHost: b\r\nX-EventSource-Event: log\r\n"
            requests.append(f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self._socket.sendall(b"".join(requests))
        self._await_answers(len(jobs))

    def _await_answers(self, count: int) -> None:
        received = b""
        while received.count(b"last message id:") < count:
            data = self._socket.recv(1 << 16)
            received += data
            if not data or b"HTTP/1.1 4" in received or b"HTTP/1.1 5" in received:
                raise ConnectionError(f"nchan did not take an event: {received[-500:]!r}")


WAYS: dict[str, Callable[[str, Sequence[str]], Way]] = {
    "joblog": ByJobLog,
    "publish": ByPublish,
    "post": ByPost,
}


def publish(way: Way, jobs: int, events: int, per_second: float) -> None:
    """Send `events` in all, round robin over the jobs; those that are due go out together."""
    began, sent = time.monotonic(), 0
    while sent < events:
        elapsed = time.monotonic() - began
        due = min(events, int(elapsed * per_second) + 1, sent + AT_ONCE)
        if due > sent:
            way.send([number % jobs for number in range(sent, due)])
            sent = due
        else:
            time.sleep(max(0.0, sent / per_second - elapsed))


async def create(url: str, jobs: Sequence[str]) -> None:
    """Make the jobs, so that streams can be opened before anything is published."""
    async with connect(url) as redis:
        log = JobLog(redis)
        created = times.now()
        await log.create_all(
            [NewJob(id=job_id, task="bench", queue="bench", created_at=created) for job_id in jobs]
        )


def main() -> None:
    kind, url, prefix, count = sys.argv[1:]
    jobs = [f"{prefix}{number}" for number in range(int(count))]
    way = WAYS[kind](url, jobs)
    print("ready", flush=True)
    for line in sys.stdin:
        events, per_second = line.split()
        began, cpu = time.monotonic(), time.process_time()
        publish(way, len(jobs), int(events), float(per_second))
        print(time.monotonic() - began, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
