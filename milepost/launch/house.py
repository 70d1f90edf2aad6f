"""The data directory of `milepost up`: one supervisor at a time, and a note of which processes it started."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from milepost.errors import SettingsError
from milepost.launch.processes import identity

LEFTOVER_SECONDS = 5.0
"""How long a process that a killed supervisor left behind may take to stop before it is killed."""


class House:
    """An open data directory, ours alone. `log` takes sentences worth telling the user."""

    def __init__(self, path: Path, lock: IO[str], log: Callable[[str], None]) -> None:
        self.path, self._lock, self._log = path, lock, log
        self._note = path / "processes.json"
        self._started: dict[str, tuple[int, str | None]] = {}

    def say_where(self, url: str) -> None:
        """Write into the lock who holds it, for the sentence that a second `milepost up` will print."""
        self._lock.seek(0)
        self._lock.truncate()
        json.dump({"pid": os.getpid(), "url": url}, self._lock)
        self._lock.flush()

    def started(self, name: str, pid: int) -> None:
        """Remember a child, so that the next start can end it if we cannot."""
        self._started[name] = (pid, identity(pid))
        self._write_note()

    def stopped(self, name: str) -> None:
        self._started.pop(name, None)
        self._write_note()

    def end_leftovers(self) -> None:
        """End processes that a killed supervisor left behind, and only those: same pid, same start."""
        for name, (pid, known) in _read_note(self._note).items():
            if known is not None and identity(pid) == known:
                self._log(f"ending the {name} (process {pid}) that an earlier run left behind")
                _end(pid, known)
        self._note.unlink(missing_ok=True)

    def _write_note(self) -> None:
        fresh = self._note.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(self._started), encoding="utf-8")
            fresh.replace(self._note)  # in one step: a crash in between leaves the old note, never half a one
        except OSError as error:
            # The disk is full, or the directory was removed: what runs, and is to be stopped, is more than its note.
            self._log(
                f"{self._note} cannot be written: {error.strerror}; if this run is killed, "
                "the next one cannot end what it leaves behind"
            )


@contextmanager
def open_house(path: Path, log: Callable[[str], None]) -> Iterator[House]:
    """Open the data directory (made if missing, closed to other users) for one supervisor.

    Raises `SettingsError` if another one holds it, or if it cannot be written.
    """
    lock_path = path / "lock"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = path / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="ascii")
        lock = lock_path.open("a+", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"MILEPOST_DATA_DIR is {str(path)!r}: {error.strerror}. Name another.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back by the kernel however we end
        except BlockingIOError:
            raise SettingsError(_held(path, lock)) from None
        yield House(path, lock, log)


def _held(path: Path, lock: IO[str]) -> str:
    lock.seek(0)
    try:
        holder = json.loads(lock.read())
        who = f" (process {int(holder['pid'])}, {holder['url']})"
    except (ValueError, KeyError, TypeError):
        who = ""  # it holds the lock but has not written its name yet
    return (
        f"Milepost already runs on {path}{who}. Use that one, stop it, "
        "or give this one its own MILEPOST_DATA_DIR and MILEPOST_PORT."
    )


def _read_note(note: Path) -> dict[str, tuple[int, str | None]]:
    try:
        raw: Any = json.loads(note.read_text(encoding="utf-8"))
        return {str(name): (int(pid), known) for name, (pid, known) in raw.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # not our writing: nothing in it can be trusted enough to end a process


def _end(pid: int, known: str) -> None:
    deadline = time.monotonic() + LEFTOVER_SECONDS
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while identity(pid) == known:
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.02)
