"""The fork server: imports the tasks once, then forks a process for every attempt.

It has one thread and no event loop, so forking it is safe, and a fork of what is imported already starts in
milliseconds. It alone waits for its children and signals them, so no signal can ever hit a number that was
given away again. When the worker is gone, however it died, all of them are killed, and the server ends.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import psutil

from milepost.logs import configure_logs
from milepost.reporting import capture_logs
from milepost.settings import Settings
from milepost_worker.processes.child import live
from milepost_worker.processes.control import SIGNAL, START, Request, hear, tell

LEFTOVER_SECONDS = 0.5
"""What a task's process leaves behind (its own children) gets SIGTERM when it ends, and SIGKILL so much later."""

WATCH_SECONDS = 0.1
"""How often to look at the memory of processes with a limit."""

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(control: socket.socket, config: Mapping[str, Any]) -> None:
    """Import the tasks, then fork on demand until the worker is gone."""
    control.set_inheritable(False)  # it came through an exec: what the tasks start must not hold it
    _die_with(signal.SIGHUP)
    configure_logs(Settings.model_construct(**config["log"]))
    if level := config["log"].get("capture_logs_level"):
        capture_logs(level)
    try:
        for module in config["modules"]:
            importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 - the worker has imported them before, so its author wants to know
        traceback.print_exc()
        tell(control, failed=f"{type(error).__name__}: {error}")
        return
    gc.collect()
    gc.freeze()  # so that collections in the children do not touch, and thereby copy, what they share
    tell(control, ready=True)
    Server(control).run()


@dataclass(slots=True)
class Process:
    """A child, from its fork until it is reaped."""

    number: int
    pid: int
    limit: int = 0
    over: int = 0
    """What it used when it was killed for that."""
    kill_at: float | None = None
    """It has ended; what it left behind is killed then, and only then its process id is given back."""


class Server:
    def __init__(self, control: socket.socket) -> None:
        self._control, self._parent = control, os.getppid()
        self._processes: dict[int, Process] = {}
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self._poll = select.poll()  # not select(2), which knows no descriptor above 1023
        for source in (self._control.fileno(), self._woken):
            self._poll.register(source, select.POLLIN)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        # SIGCHLD and SIGHUP wake the loop. SIGINT and SIGTERM, sent to a whole group or control group, are for the
        # worker to answer: it decides what becomes of the tasks. Handlers, not SIG_IGN, which an exec would inherit.
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def run(self) -> None:
        """Serve until the worker is gone."""
        try:
            while os.getppid() == self._parent and self._turn():
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # the worker has died while something was said to it
        finally:
            self._kill_all()

    def _turn(self) -> bool:
        ready = {descriptor for descriptor, _ in self._poll.poll(self._pause())}
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)
        self._watch()
        self._reap()
        return self._control.fileno() not in ready or self._answer()

    def _pause(self) -> float | None:
        """Return the milliseconds until there is something to do without being asked."""
        now = time.monotonic()
        due = [process.kill_at - now for process in self._processes.values() if process.kill_at is not None]
        if any(process.limit and process.kill_at is None for process in self._processes.values()):
            due.append(WATCH_SECONDS)
        return max(0.0, min(due)) * 1000 + 1 if due else None

    def _answer(self) -> bool:
        asked = hear(self._control)
        if asked is None:
            return False
        request, descriptors = asked
        if request.verb == START:
            self._start(request, descriptors[0])
        elif request.verb == SIGNAL and (process := self._processes.get(request.number)):
            _signal(process, request.value)
        return True

    def _start(self, request: Request, connection: int) -> None:
        server = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:
            tell(self._control, number=request.number, refused=str(error))
            os.close(connection)
            return
        if pid == 0:
            self._become_child(server, connection, request.value)
        with suppress(OSError):
            os.setpgid(pid, pid)  # the child does the same: whoever comes first
        os.close(connection)
        self._processes[request.number] = Process(request.number, pid, request.value)

    def _become_child(self, server: int, connection: int, limit: int) -> NoReturn:
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            for descriptor in (self._woken, self._waker):
                os.close(descriptor)
            self._control.close()
            _die_with(signal.SIGKILL)
            if os.getppid() == server:  # else it died before it could take us along
                code = live(connection, limit)
        except BaseException:  # noqa: BLE001 - never, in no way, back into the server's loop
            traceback.print_exc()
        finally:
            os._exit(code)

    def _watch(self) -> None:
        for process in self._processes.values():
            if process.limit and process.kill_at is None and not process.over:
                used = _resident(process.pid)
                if used > process.limit:
                    process.over = used
                    _signal(process, signal.SIGKILL)

    def _reap(self) -> None:
        now = time.monotonic()
        for process in list(self._processes.values()):
            if process.kill_at is None:
                status = _ended(process.pid)
                if status is not None:
                    process.kill_at = now + LEFTOVER_SECONDS
                    _signal(process, signal.SIGTERM)
                    tell(self._control, number=process.number, status=status, over=process.over)
            elif now >= process.kill_at:
                _signal(process, signal.SIGKILL)
                with suppress(ChildProcessError):  # without waitid(2) it has been reaped before
                    os.waitpid(process.pid, 0)
                del self._processes[process.number]

    def _kill_all(self) -> None:
        for process in self._processes.values():
            _signal(process, signal.SIGKILL)


def _ended(pid: int) -> int | None:
    """Return the exit code of a child, negative for a signal, or None while it runs. Its number stays taken."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13: there its number is free from here on
        found, raw = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(raw) if found else None
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if info is None:
        return None
    return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(process.pid, number)


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0  # it has just ended


def _die_with(number: int) -> None:
    """Be sent this signal when the parent dies: Linux only. Elsewhere a closed connection says so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
