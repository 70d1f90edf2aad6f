"""Numbers of one worker for Prometheus, on a port of their own.

Labels are names of tasks this worker offers and words of fixed lists, so their number is bounded. Without a port
nobody counts: `Silent` does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import structlog

from milepost.errors import SettingsError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

log = structlog.get_logger("milepost.metrics")

PREFIX = "milepost_worker_"

OUTCOMES = ("succeeded", "failed", "cancelled", "retrying", "released", "lost")
"""What becomes of an attempt. `lost`: another one has the job, or Redis refused the report."""

DURATIONS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400)
"""Seconds; from a no-op to a night's work."""
DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300)
"""Seconds between due and claimed, and of a round trip to Redis."""


class Metrics(Protocol):
    """What the parts of a worker tell. Called once per attempt or per round trip, from any thread."""

    def started(self, task: str, waited_seconds: float) -> None: ...

    def ended(self, task: str, outcome: str, seconds: float) -> None: ...

    def sent(self, reports: int, heartbeats: int, seconds: float) -> None: ...

    def failed(self) -> None: ...


class Silent:
    """Nobody asked for numbers."""

    def started(self, task: str, waited_seconds: float) -> None:
        pass

    def ended(self, task: str, outcome: str, seconds: float) -> None:
        pass

    def sent(self, reports: int, heartbeats: int, seconds: float) -> None:
        pass

    def failed(self) -> None:
        pass


SILENT = Silent()


class Counted:
    """Counts for a registry of its own."""

    def __init__(self, registry: CollectorRegistry, *, slots: int) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        self._started = counter("attempts_started", "Attempts begun.", "task")
        self._ended = counter("attempts_ended", "Attempts ended, by what became of them.", "task", "outcome")
        self._duration = Histogram(
            PREFIX + "attempt_seconds",
            "How long attempts ran.",
            ["task"],
            buckets=DURATIONS,
            registry=registry,
        )
        self._waited = Histogram(
            PREFIX + "pick_up_seconds",
            "From due to claimed, by the clock of Redis.",
            buckets=DELAYS,
            registry=registry,
        )
        self._reports = counter("reports_sent", "Reports that Redis has answered.")
        self._heartbeats = counter("heartbeats_sent", "Leases renewed.")
        self._failures = counter("report_failures", "Round trips of reports and heartbeats that failed.")
        self._round_trip = Histogram(
            PREFIX + "report_seconds",
            "Round trips of reports and heartbeats.",
            buckets=DELAYS,
            registry=registry,
        )
        Gauge(PREFIX + "slots", "Jobs that may run at once.", registry=registry).set(slots)
        self._running = Gauge(PREFIX + "attempts_running", "Attempts under way.", registry=registry)

    def started(self, task: str, waited_seconds: float) -> None:
        self._running.inc()
        self._started.labels(task).inc()
        self._waited.observe(waited_seconds)

    def ended(self, task: str, outcome: str, seconds: float) -> None:
        self._running.dec()
        self._ended.labels(task, outcome).inc()
        self._duration.labels(task).observe(seconds)

    def sent(self, reports: int, heartbeats: int, seconds: float) -> None:
        if reports:
            self._reports.inc(reports)
        if heartbeats:
            self._heartbeats.inc(heartbeats)
        self._round_trip.observe(seconds)

    def failed(self) -> None:
        self._failures.inc()


@contextmanager
def metrics_at(port: int | None, host: str, *, slots: int) -> Iterator[Metrics]:
    """Serve numbers there for as long as the block lasts. Raises `SettingsError` when nobody can listen there."""
    if port is None:
        yield Silent()
        return
    from prometheus_client import (
        CollectorRegistry,
        GCCollector,
        PlatformCollector,
        ProcessCollector,
        start_http_server,
    )

    registry = CollectorRegistry(auto_describe=True)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    metrics = Counted(registry, slots=slots)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise SettingsError(
            f"MILEPOST_METRICS_PORT is {port}: nobody can listen on {host}:{port} ({error.strerror or error}). "
            "Choose another."
        ) from error
    log.info("metrics.ready", url=f"http://{host}:{server.server_port}/metrics")
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
