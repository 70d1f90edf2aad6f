"""The courier: one thread that carries reports and heartbeats to Redis.

A thread with a connection of its own, because a task may block the event loop: its worker is then still
alive, and says so (DESIGN §3). All attempts of the process share one pipeline per round trip.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from milepost.log import SCRIPTS, Call
from milepost.redis import UNREACHABLE
from milepost_worker.outbox import Outbox

log = structlog.get_logger("milepost.courier")

RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
BATCH_BYTES = 1 << 20
Sent = tuple[Outbox, Call, Callable[[str], None] | None]


class Courier(threading.Thread):
    """Runs until `stop`. `heartbeat_seconds` is how often every open attempt's lease is renewed."""

    def __init__(
        self,
        redis: Redis,
        *,
        lease_seconds: float,
        heartbeat_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="milepost-courier", daemon=True)
        self._redis, self._clock = redis, clock
        self._lease_ms, self._heartbeat_seconds = round(lease_seconds * 1000), heartbeat_seconds
        self._open: set[Outbox] = set()
        self._wake = threading.Event()
        self._stopping = False
        self._failures = 0

    # Called from the event loop and from tasks.

    def open(self, outbox: Outbox) -> None:
        outbox.next_heartbeat = self._clock() + self._heartbeat_seconds
        self._open.add(outbox)
        self._wake.set()

    def forget(self, outbox: Outbox) -> None:
        self._open.discard(outbox)

    def notify(self, outbox: Outbox) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    # The thread.

    def run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._pause())
            self._wake.clear()
            try:
                self._round()
            except (RedisError, *UNREACHABLE) as error:
                self._trouble(error)
            except Exception:
                # Heartbeats must go on whatever one report has done; the attempt at fault fails by its lease at worst.
                log.exception("courier.bug")
                time.sleep(RETRY_SECONDS[-1])
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
        beats = [outbox for outbox in boxes if outbox.next_heartbeat <= now and not outbox.closed]
        batches = [(outbox, outbox.batch(now)) for outbox in boxes]
        calls: list[Call] = [outbox.calls.renew(self._lease_ms) for outbox in beats]
        # A round that is large goes out in parts, so that one talkative job does not delay the rest.
        sent: list[Sent] = []
        size = 0
        for outbox, batch in batches:
            for call, answer in batch:
                if size > BATCH_BYTES:
                    self._wake.set()
                    break
                size += sum(len(str(arg)) for arg in call.args)
                sent.append((outbox, call, answer))
        if not calls and not sent:
            return
        replies = self._send([*calls, *(call for _, call, _ in sent)])
        self._failures = 0
        for outbox, reply in zip(beats, replies, strict=False):
            outbox.next_heartbeat = now + self._heartbeat_seconds
            self._heard(outbox, reply)
        self._settle(sent, replies[len(beats) :])

    def _send(self, calls: Sequence[Call]) -> list[Any]:
        replies = self._pipelined(calls)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # Redis has restarted or its scripts were flushed. Reports are numbered, so sending all again is safe.
            for name in ("report", "renew"):
                self._redis.script_load(SCRIPTS[name].source)
            replies = self._pipelined(calls)
        return replies

    def _pipelined(self, calls: Sequence[Call]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for call in calls:
            pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *(str(arg) for arg in call.args))
        return list(pipe.execute(raise_on_error=False))

    def _settle(self, sent: Sequence[Sent], replies: Sequence[Any]) -> None:
        stuck: set[Outbox] = set()
        for (outbox, call, answer), reply in zip(sent, replies, strict=True):
            if outbox in stuck:
                continue  # what follows a report that did not arrive waits for it
            if isinstance(reply, ResponseError) and not _is_transient(reply):
                log.error(
                    "courier.refused", job_id=outbox.claim.job_id, script=call.script.name, error=str(reply)
                )
                answered = b"failed"
            elif isinstance(reply, Exception):
                stuck.add(outbox)
                self._trouble(reply)
                continue
            else:
                answered = reply
            outbox.settle(1)
            if answer is not None:
                answer(answered.decode())
            if answered in (b"refused", b"gone") and answer is None:
                self._lost(outbox, answered)
                stuck.add(outbox)

    def _heard(self, outbox: Outbox, reply: Any) -> None:
        if isinstance(reply, Exception):
            self._trouble(reply)
        elif reply == b"cancel":
            outbox.on_stop("cancelled")
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
        wait = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        if self._failures in (0, 20) or self._failures % 100 == 0:
            log.warning("courier.redis_trouble", error=str(error), failures=self._failures + 1)
        self._failures += 1
        time.sleep(wait)  # a thread of its own: nobody else waits
        self._wake.set()


def _is_transient(error: ResponseError) -> bool:
    """Whether the same call may succeed later: a server that is loading, full, read-only or busy."""
    return str(error).startswith(
        ("LOADING", "OOM", "READONLY", "BUSY", "MASTERDOWN", "MISCONF", "TRYAGAIN", "NOREPLICAS")
    )
