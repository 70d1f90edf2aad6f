"""Child processes that write to files, can be hurt on purpose, and do not outlive the tests."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import psutil

from tests.support.wait import DEADLINE_SECONDS, eventually_sync

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TAIL_BYTES = 20_000


def _die_with_parent() -> None:
    """Runs in the child between fork and exec. The signal follows the thread that forked: the main one."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def python_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Milepost process: `settings` and nothing that the developer had set."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MILEPOST_", "PYTEST_"))}
    path = [str(ROOT), str(ROOT / "api"), str(ROOT / "worker"), os.environ.get("PYTHONPATH", "")]
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        **settings,
    }


def refused(module: str, folder: Path, redis_url: str) -> str:
    """Start the API or a worker, which this Redis refuses; return all that it said, the sentence last."""
    settings = {
        "MILEPOST_REDIS_URL": redis_url,
        "MILEPOST_DATA_DIR": str(folder / "data"),
        "MILEPOST_PORT": "0",
        "MILEPOST_REDIS_WAIT_SECONDS": "3600",
    }
    done = subprocess.run(
        [sys.executable, "-m", module],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        env=python_environment(settings),
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    return (done.stdout + done.stderr).strip()


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def children(pid: int) -> list[int]:
    """Return what the process has started, and what those have started."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


class Process:
    """One child: started, stopped, killed or frozen by the test. Its output goes to the file `log`.

    A pipe that nobody reads might block the child when it is full, so there is none; unless that is what is tested:
    `output` is a file descriptor to use instead. `user` (a name) is whom to become when the tests run as root.
    """

    seen: ClassVar[list[Process]] = []
    """The processes of the test that is running, for the report of its failure."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        user: str | None = None,
        output: int | None = None,
    ) -> None:
        self.name, self.argv, self.log, self.cwd = name, [str(a) for a in argv], log, cwd
        self._output = output
        self._env, self._user = env, user if os.geteuid() == 0 else None
        self._child: subprocess.Popen[bytes] | None = None
        self._marked = 0

    @classmethod
    def python(cls, name: str, *argv: str, log: Path, settings: Mapping[str, str]) -> Self:
        """Return a process of this Python with the working tree on its path: `("-m", "milepost_api")`."""
        return cls(name, [sys.executable, *argv], log=log, env=python_environment(settings))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log if self._output is None else self._output,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=self._env,
                start_new_session=True,  # Ctrl-C is for pytest, which stops its children in order
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it calls one C function and takes no lock
                user=self._user,
                group="nogroup" if self._user else None,
                extra_groups=[] if self._user else None,
            )
        if self not in Process.seen:
            Process.seen.append(self)
        return self

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._running.poll()

    def output(self) -> str:
        """Return the end of what it has written so far."""
        return self._written()[-_TAIL_BYTES:].decode("utf-8", "replace")

    def fresh_output(self) -> str:
        """Return the end of what it has written since `mark`: servers live longer than a test."""
        return self._written()[self._marked :][-_TAIL_BYTES:].decode("utf-8", "replace")

    def mark(self) -> None:
        """Begin a new page: the next test does not care about what was written before."""
        self._marked = len(self._written())

    def _written(self) -> bytes:
        return self.log.read_bytes() if self.log.exists() else b""

    def send(self, number: int) -> None:
        """Send a signal to this process alone (its children are its own business)."""
        self._running.send_signal(number)

    def wait(self, deadline: float = DEADLINE_SECONDS) -> int:
        """Wait for it to leave by itself and return its exit code."""
        return self._running.wait(deadline)

    def stop(self, number: int = signal.SIGTERM, deadline: float = DEADLINE_SECONDS) -> int:
        """Ask it to leave, and return its exit code."""
        if self.alive:
            self.send(number)
            self.resume()
        return self.wait(deadline)

    def kill(self) -> None:
        """SIGKILL, to the whole process group; fine if it is gone or was never started."""
        if self._child is None:
            return
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def pause(self) -> None:
        """SIGSTOP: still there, and silent."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def wait_until(self, ready: Callable[[], object], ignoring: tuple[type[Exception], ...] = ()) -> None:
        """Wait until `ready()`; fails at once, with its output, if the process leaves before."""

        def ready_or_gone() -> bool:
            return not self.alive or bool(ready())

        eventually_sync(ready_or_gone, f"{self.name} is ready", ignoring=ignoring)
        self.check_alive()

    def check_alive(self) -> None:
        """Raise `RuntimeError` with its output if it has left."""
        if not self.alive:
            raise RuntimeError(f"{self.name} left with {self.returncode}; it said:\n{self.output()}")

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child
