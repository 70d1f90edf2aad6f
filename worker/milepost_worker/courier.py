"""The courier: one thread that carries reports and heartbeats to Redis.

A thread with a connection of its own, because a task may block the event loop: its worker is then still
alive, and says so (DESIGN §3). All attempts of the process share one pipeline per round trip.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import NoScriptError, RedisError

from milepost.log import Call
from milepost.log.evaluate import renew
from milepost.log.generation import TRIES, known_to
from milepost.redis import UNREACHABLE, is_transient
from milepost_worker.metrics import SILENT, Metrics
from milepost_worker.outbox import Outbox, Report, size_of

log = structlog.get_logger("milepost.courier")

RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
BATCH_BYTES = 1 << 20
Sent = tuple[Outbox, Report]


class Courier(threading.Thread):
    """Runs until `stop`. `heartbeat_seconds` is how often every open attempt's lease is renewed."""

    def __init__(
        self,
        redis: Redis,
        *,
        lease_seconds: float,
        heartbeat_seconds: float,
        metrics: Metrics = SILENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="milepost-courier", daemon=True)
        self._redis, self._clock = redis, clock
        self._lease_ms, self._heartbeat_seconds = round(lease_seconds * 1000), heartbeat_seconds
        self._open: set[Outbox] = set()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._failures = 0
        self._metrics = metrics
        self.cover: Callable[[], Call | None] = lambda: None
        """The heartbeat of attempts that have begun in Redis and not here yet, if there may be any."""
        self._next_cover = 0.0

    # Called from the event loop and from tasks.

    def open(self, outbox: Outbox) -> None:
        outbox.next_heartbeat = self._clock() + self._heartbeat_seconds
        self._open.add(outbox)
        self._wake.set()

    def forget(self, outbox: Outbox) -> None:
        self._open.discard(outbox)

    def notify(self, outbox: Outbox) -> None:
        self._wake.set()

    def hand_back(self, seconds: float) -> None:
        """Release every open attempt and wait so long for the answers. From any thread but the courier's."""
        boxes = list(self._open)
        for outbox in boxes:
            if not outbox.closed:
                outbox.close(lambda calls: calls.release(), lambda answer: None)
        until = self._clock() + seconds
        while any(outbox.due is not None for outbox in boxes) and self._clock() < until:
            self._wait(0.02)

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    # The thread.

    def run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._pause())
            self._wake.clear()
            try:
                self._round()
            except (RedisError, *UNREACHABLE) as error:
                self._trouble(error)
            except Exception:
                # Heartbeats must go on whatever one report has done; the attempt at fault fails by its lease at worst.
                log.exception("courier.bug")
                self._wait(RETRY_SECONDS[-1])
        self._redis.close()

    def _pause(self) -> float:
        now = self._clock()
        due = [self._heartbeat_seconds]
        for outbox in list(self._open):
            due.append(outbox.next_heartbeat - now)
            report = outbox.due
            if report is not None:
                due.append(report - now)
        return max(0.0, min(due))

    def _round(self) -> None:
        now = self._clock()
        boxes = list(self._open)
        # Also of those that are closed and have not been heard out: a backlog may take longer than a lease.
        beats = [
            outbox
            for outbox in boxes
            if outbox.next_heartbeat <= now and not (outbox.closed and outbox.due is None)
        ]
        sent = self._collect([(outbox, self._batch(outbox, now)) for outbox in boxes])
        calls = [outbox.calls.renew(self._lease_ms) for outbox in beats]
        cover = self._covering(now)
        if not calls and not sent and not cover:
            return
        replies = self._send([*calls, *(call for _, (call, _) in sent), *cover])
        self._metrics.sent(len(sent), len(beats), self._clock() - now)
        troubles = [
            *self._hear(beats, replies[: len(beats)], now),
            *self._settle(sent, replies[len(beats) : len(beats) + len(sent)]),
        ]
        if troubles:
            self._trouble(troubles[0])
        else:
            self._failures = 0

    def _covering(self, now: float) -> list[Call]:
        if now < self._next_cover:
            return []
        # Half of the rhythm, since a request may be asked and answered between two looks.
        self._next_cover = now + self._heartbeat_seconds / 2
        call = self.cover()
        return [] if call is None else [call]

    def _batch(self, outbox: Outbox, now: float) -> list[Report]:
        try:
            return outbox.batch(now)
        except Exception:
            # One job's report that cannot be made must cost no other job its heartbeats.
            log.exception("courier.bug", job_id=outbox.claim.job_id)
            return []

    def _collect(self, batches: Sequence[tuple[Outbox, list[Report]]]) -> list[Sent]:
        """Return what to send in this round: the oldest of every job, the second of every job, and so on.

        A round that is large goes out in parts, so that one talkative job does not delay the rest.
        """
        sent: list[Sent] = []
        size = 0
        for rank in range(max((len(batch) for _, batch in batches), default=0)):
            if size > BATCH_BYTES:
                self._wake.set()
                break
            for outbox, batch in batches:
                if rank < len(batch):
                    sent.append((outbox, batch[rank]))
                    size += size_of(batch[rank][0])
        return sent

    def _send(self, calls: Sequence[Call]) -> list[Any]:
        for _ in range(TRIES - 1):
            replies = self._pipelined(calls)
            if not any(isinstance(reply, NoScriptError) for reply in replies):
                return replies
            # Redis has restarted or another has taken over. Reports are numbered, so sending all again is safe.
            renew(self._redis)
        return self._pipelined(calls)

    def _pipelined(self, calls: Sequence[Call]) -> list[Any]:
        # In one transaction: all of them meet the scripts or none. Otherwise another worker could load them between
        # two reports of a job, the second would be taken without the first, and the first come too late.
        pipe = self._redis.pipeline(transaction=True)
        generation = known_to(self._redis)
        for call in calls:
            sha = call.script.of(generation).sha
            pipe.evalsha(sha, len(call.keys), *call.keys, *[_encoded(arg) for arg in call.args])
        return list(pipe.execute(raise_on_error=False))

    def _hear(self, beats: Sequence[Outbox], replies: Sequence[Any], now: float) -> Iterator[Exception]:
        for outbox, reply in zip(beats, replies, strict=True):
            if isinstance(reply, Exception):
                yield reply  # the heartbeat is still due: the next round has it again
                continue
            outbox.next_heartbeat = now + self._heartbeat_seconds
            if reply == b"cancel":
                outbox.on_stop("cancelled")
            elif reply in (b"refused", b"gone") and not outbox.closed:
                self._lost(outbox, reply)

    def _settle(self, sent: Sequence[Sent], replies: Sequence[Any]) -> Iterator[Exception]:
        stuck: set[Outbox] = set()
        for (outbox, report), reply in zip(sent, replies, strict=True):
            if outbox in stuck:
                continue  # what follows a report that did not arrive waits for it
            if isinstance(reply, Exception) and is_transient(reply):
                stuck.add(outbox)
                yield reply
                continue
            outbox.settle(report)
            self._answered(outbox, report, reply)

    def _answered(self, outbox: Outbox, report: Report, reply: Any) -> None:
        call, answer = report
        if isinstance(reply, Exception):
            job_id = outbox.claim.job_id
            log.error("courier.refused", job_id=job_id, script=call.script.name, error=str(reply))
        if answer is not None:
            answer("failed" if isinstance(reply, Exception) else reply.decode())
        elif reply in (b"refused", b"gone") and not outbox.closed:
            self._lost(outbox, reply)

    def _lost(self, outbox: Outbox, reply: bytes) -> None:
        log.warning(
            "attempt.lost", job_id=outbox.claim.job_id, attempt=outbox.claim.attempt, reply=reply.decode()
        )
        for answer in outbox.abandon():
            answer(reply.decode())
        outbox.on_stop("lost")

    def _trouble(self, error: Exception) -> None:
        self._metrics.failed()
        # Not longer than the rhythm of the heartbeats: when Redis is back there is one lease to be heard in.
        wait = min(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)], self._heartbeat_seconds)
        if self._failures in (0, 20) or self._failures % 100 == 0:
            log.warning("courier.redis_trouble", error=str(error), failures=self._failures + 1)
        self._failures += 1
        self._wait(wait)
        self._wake.set()

    def _wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)  # a thread of its own: nobody else waits


def _encoded(arg: str | int) -> Any:
    # A half surrogate pair cannot be encoded. Raising would repeat in every round and silence the whole worker.
    return str(arg).encode("utf-8", "replace")
