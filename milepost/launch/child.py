"""One child process of the supervisor: started in its own session, listened to, stopped in time."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from milepost.launch.processes import tethered

LAST_LINES = 20
LONGEST_LINE = 65_536  # characters; a longer one is shown in pieces rather than kept
DRAIN_OUTPUT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run, and how long it may take to stop before it is killed. `stdin` is written once.

    `hurried_seconds` is how long it may still take after a second Ctrl-C; None: that does not concern it.
    `noise`: lines that hold one of these are kept but not shown.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    stop_seconds: float
    stdin: bytes = b""
    hurried_seconds: float | None = None
    noise: Sequence[str] = ()


class Lines:
    """Cut bytes into lines of text, wherever the chunks fall."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._partial = ""

    def feed(self, chunk: bytes) -> list[str]:
        """Return the lines that `chunk` completes. An empty one says that no more will come."""
        *lines, self._partial = (self._partial + self._text.decode(chunk, not chunk)).split("\n")
        if self._partial and (not chunk or len(self._partial) > LONGEST_LINE):
            lines.append(self._partial)
            self._partial = ""
        return [line.rstrip("\r") for line in lines]


class Child:
    """A running process. `last_lines` is what it said last, for the sentence about its end."""

    def __init__(
        self, command: Command, process: asyncio.subprocess.Process, output: int, show: Callable[[str], None]
    ) -> None:
        self.command, self._process, self._show = command, process, show
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._listening = asyncio.create_task(self._listen(output), name=f"{command.name} output")

    @classmethod
    async def start(cls, command: Command, show: Callable[[str], None]) -> Child:
        """Start `command`; every line it writes goes to `show`.

        A session of its own keeps the Ctrl-C of the terminal from it: the supervisor decides who stops when.
        The pipe is ours, not asyncio's: its `wait` would not return while a grandchild holds the other end.
        """
        output, child_output = os.pipe()
        given = _filled_pipe(command.stdin) if command.stdin else subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *tethered(command.argv),
                env=dict(command.env),
                stdin=given,
                stdout=child_output,
                stderr=child_output,
                start_new_session=True,
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(child_output)
            if given != subprocess.DEVNULL:
                os.close(given)
        return cls(command, process, output, show)

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Wait until the process is gone and all it wrote was shown; return its exit code (-N: signal N)."""
        code = await self._process.wait()
        # A grandchild may hold the pipe open for ever, so its end is not waited for without a limit.
        await asyncio.wait({self._listening}, timeout=DRAIN_OUTPUT_SECONDS)
        self._listening.cancel()
        return code

    async def stop(self, hurry: asyncio.Event) -> bool:
        """Ask the process to stop; ask again when `hurry` is set; kill it after its time.

        Returns False if it had to be killed.
        """
        gone = asyncio.create_task(self._process.wait())
        hurried = asyncio.create_task(hurry.wait())
        hurried_seconds = self.command.hurried_seconds
        self._signal(signal.SIGTERM)
        first = {gone} if hurried_seconds is None else {gone, hurried}
        await asyncio.wait(first, timeout=self.command.stop_seconds, return_when=asyncio.FIRST_COMPLETED)
        if hurried.done() and not gone.done():
            self._signal(signal.SIGTERM)  # a worker takes the second one for: hand your jobs back now
            await asyncio.wait({gone}, timeout=hurried_seconds)
        hurried.cancel()
        in_time = gone.done()
        if not in_time:
            self._kill()
        await gone
        await self.wait()
        return in_time

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _kill(self) -> None:
        """Kill the process and what it started; it leads its group, and lives: the number is still ours."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _listen(self, output: int) -> None:
        stream, lines = asyncio.StreamReader(), Lines()
        with os.fdopen(output, "rb", buffering=0) as pipe:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), pipe
            )
            try:
                while chunk := await stream.read(65_536):
                    self._say(lines.feed(chunk))
            finally:
                transport.close()
                self._say(lines.feed(b""))

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            self.last_lines.append(line)
            if not any(text in line for text in self.command.noise):
                self._show(line)


def _filled_pipe(data: bytes) -> int:
    """Return the reading end of a pipe that holds `data`, a few lines: a pipe takes 16 kB on any system."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
    finally:
        os.close(writing)
    return reading
