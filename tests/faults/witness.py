"""The independent witness: every run of a test task says when it began and ended, in a file, past Milepost.

Lines are appended by one `write` each to a file opened with O_APPEND, so processes cannot disorder them, and a
killed process has said what it said. Times are CLOCK_MONOTONIC, which all processes of a machine share and
which a wrong wall clock does not touch.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

PATH_VARIABLE, WORKER_VARIABLE = "FAULTS_WITNESS", "FAULTS_WORKER_PID"

What = Literal["start", "stop", "exit", "gone"]
"""`exit`: the run ends its own worker; `gone`: the process that was started for it."""


def digest(token: str, beats: int) -> str:
    """Return what a run's digest is after so many beats: each one follows from all before it."""
    running = token
    for beat in range(beats):
        running = after(running, beat)
    return running


def after(running: str, beat: int) -> str:
    """Return the digest that follows `running`."""
    return hashlib.sha256(f"{running}/{beat}".encode()).hexdigest()[:32]


def worker_pid() -> int:
    """Return the process id of the worker that this code runs for."""
    return int(os.environ[WORKER_VARIABLE])


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task's function: of which job (by the name the test gave it), of which worker, from when.

    Seconds. `ended` is None where it never said so: it still runs, or its process died. `exits`: it announced
    that it would end its own process. `digest` is what it came to in the end, if it ended.
    """

    job: str
    token: str
    pid: int
    started: float
    ended: float | None = None
    exits: bool = False
    digest: str = ""

    def moved(self, seconds: float) -> Run:
        """Return the run by another clock, which is so far ahead."""
        ended = None if self.ended is None else self.ended + seconds
        return replace(self, started=self.started + seconds, ended=ended)


def say(what: What, job: str, token: str, come_to: str = "") -> None:
    """Append one line, from inside a task."""
    line = {"what": what, "job": job, "run": token, "pid": worker_pid(), "t": time.monotonic()}
    line |= {"digest": come_to} if come_to else {}
    file = os.open(os.environ[PATH_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def runs_of(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[Run]]:
    """Return the runs of every job, in the order in which they began."""
    runs: dict[str, Run] = {}
    for line in lines:
        _take(runs, line)
    return _by_job(runs)


def _take(runs: dict[str, Run], line: Mapping[str, Any]) -> None:
    token, at = line["run"], line["t"]
    if line["what"] == "start":
        runs[token] = Run(line["job"], token, line["pid"], at)
    elif token in runs:  # not of a job that has been judged
        come_to = line.get("digest", "")
        runs[token] = replace(runs[token], ended=at, exits=line["what"] == "exit", digest=come_to)


def _by_job(runs: Mapping[str, Run]) -> dict[str, list[Run]]:
    by_job: dict[str, list[Run]] = {}
    for run in sorted(runs.values(), key=lambda run: run.started):
        by_job.setdefault(run.job, []).append(run)
    return by_job


class Witness:
    """Reads the file as it grows: a round asks often, and a house lives long."""

    def __init__(self, path: Path) -> None:
        self.path, self._read, self._runs = path, 0, dict[str, Run]()

    def runs(self) -> dict[str, list[Run]]:
        """Return the runs of every job so far; times are those of CLOCK_MONOTONIC."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._read += len(whole) + len(newline)
            for line in lines_of(whole.decode()):
                _take(self._runs, line)
        return _by_job(self._runs)

    def forget(self, jobs: Iterable[str]) -> None:
        """Drop the runs of jobs that have been judged."""
        judged = frozenset(jobs)
        self._runs = {token: run for token, run in self._runs.items() if run.job not in judged}
