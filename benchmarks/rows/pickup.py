"""Row about latency: from the submission to `running` seen on the stream."""

from __future__ import annotations

import json
import random
import re
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.processes import CLIENT_CORE, SERVER_CORE, free_port, run, wait_for_port
from benchmarks.report import Reach, Table, times

SIDES = ("tutorial", "milepost", "milepost, one request")
ROUNDS = 60
MEDIAN = 0.008
_ID = re.compile(rb'"id": ?"([^"]+)"')
BODY = json.dumps({"task": "demo.count", "params": {"steps": 1, "delay_seconds": 0.05}}).encode()


@dataclass(frozen=True)
class PickUp:
    """Seconds from the request's first byte to the event's arrival; `lost` streams never saw it."""

    side: str
    median: float
    p95: float
    lost: int


def measure(side: str, url: str, data_dir: str, rounds: int) -> PickUp:
    """Submit `rounds` no-op jobs, one after the other, to an idle worker."""
    port = free_port()
    env = {
        "MILEPOST_REDIS_URL": url,
        "MILEPOST_PORT": str(port),
        "MILEPOST_DATA_DIR": data_dir,
        "MILEPOST_LOG_LEVEL": "error",
    }
    tutorial = side == "tutorial"
    api = "benchmarks.servers.tutorial" if tutorial else "milepost_api"
    worker = "benchmarks.servers.tutorial_worker" if tutorial else "milepost_worker"
    with ExitStack() as stack:
        stack.enter_context(run(sys.executable, "-m", worker, core=CLIENT_CORE, env=env))
        stack.enter_context(run(sys.executable, "-m", api, core=SERVER_CORE, env=env))
        wait_for_port(port)
        _wait_for_worker(side, port)
        seen = []
        for _ in range(rounds):
            # At a random moment of a poller's rhythm: one job right after the other would always hit the same one.
            time.sleep(random.uniform(0.1, 0.6))
            seen.append(_once(side, port))
    times = sorted(one for one in seen if one is not None)
    return PickUp(
        side,
        statistics.median(times) if times else float("nan"),
        times[int(len(times) * 0.95)] if times else float("nan"),
        len(seen) - len(times),
    )


def show(bench: Bench) -> list[Table]:
    found = []
    for side in SIDES:
        bench.say(f"{side}, {ROUNDS} jobs one after the other")
        found.append(measure(side, bench.url, str(bench.folder("pickup")), ROUNDS))
    lines = [
        (one.side, f"{one.median * 1e3:.1f}", f"{one.p95 * 1e3:.1f}", f"{one.lost} of {ROUNDS}")
        for one in found
    ]
    tutorial, *ours = found
    title = "submit -> `running` seen on the stream (idle worker, one after the other)"
    notes = (
        "The stream is opened when the submission is answered; or it is the answer (`Accept: text/event-stream`).",
    )
    reaches = [_reach(one, tutorial) for one in ours]
    return [Table(title, ("", "median ms", "p95 ms", "never seen"), lines, notes, reaches)]


def _reach(ours: PickUp, tutorial: PickUp) -> Reach:
    how = "" if ours.side == "milepost" else ", submitted and followed in one request"
    return Reach(
        f"submit -> `running` seen on the stream{how}, median",
        f"<= {MEDIAN * 1e3:g} ms",
        f"{ours.median * 1e3:.1f} ms, {times(ours.median, tutorial.median)} the tutorial's",
        ours.median <= MEDIAN and not ours.lost,
    )


def _wait_for_worker(side: str, port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if _once(side, port) is not None:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"no worker of {side} took a job within 30 s")


def _once(side: str, port: int) -> float | None:
    """Return the seconds from the first byte of a submission to the event; None if it never came."""
    began = time.monotonic()
    if side == "milepost, one request":
        request = _request(port, "POST", "/v1/jobs", BODY)
    else:
        job_id = _submit(side, port)
        path = f"/v1/jobs/{job_id}/status/stream" if side == "milepost" else f"/stream/{job_id}"
        request = _request(port, "GET", path)
    with socket.create_connection(("127.0.0.1", port), 5) as stream:
        stream.sendall(request)
        stream.settimeout(3)
        received = b""
        try:
            while data := stream.recv(65536):
                received += data
                if b'"status":"running"' in received or b'"status":"succeeded"' in received:
                    return time.monotonic() - began
        except TimeoutError:
            return None
    return None


def _request(
    port: int, method: str, path: str, body: bytes = b"", *, accept: str = "text/event-stream"
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Accept: {accept}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join((*lines, "", "")).encode() + body


def _submit(side: str, port: int) -> str:
    path = "/jobs" if side == "tutorial" else "/v1/jobs"
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(_request(port, "POST", path, BODY, accept="application/json"))
        received = b""
        while (found := _ID.search(received)) is None:
            data = connection.recv(65536)
            if not data:
                raise OSError(f"not accepted: {received[:500]!r}")
            received += data
    return found[1].decode()
