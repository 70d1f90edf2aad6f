"""Talking to the person at the terminal, and running other programs without their noise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

Command = Sequence[str | Path]


class Stop(Exception):
    """The command cannot go on; the message says what its reader can do about it."""


class CommandFailed(Exception):
    """A program that was run quietly failed; `output` holds what it said."""

    def __init__(self, command: Command, output: str) -> None:
        super().__init__(f"{Path(command[0]).name} failed")
        self.output = output

    def reason(self) -> str:
        """Return the one line that most likely says why: the last that speaks of an error."""
        lines = self.output.strip().splitlines() or ["it said nothing"]
        return next((line.strip() for line in reversed(lines) if "error" in line.lower()), lines[-1])

    def tail(self, lines: int = 12) -> str:
        """Return the last lines of what the program said, where the reason usually stands."""
        return "\n".join(self.output.strip().splitlines()[-lines:])


def say(sentence: str) -> None:
    """Tell the reader something; on stderr, because stdout belongs to the command behind the door."""
    print(f"[dev] {sentence}", file=sys.stderr, flush=True)


def quietly(
    command: Command,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float | None = None,
) -> str:
    """Run a program to its end and return what it said; its noise is shown by nobody unless it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout_seconds,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(command, f"no answer within {timeout_seconds:g} s") from None
    except OSError as error:
        raise CommandFailed(command, str(error)) from None
    if done.returncode != 0:
        raise CommandFailed(command, done.stdout)
    return done.stdout


def works(command: Command, timeout_seconds: float = 30) -> bool:
    """Say whether a program can be started at all and ends well."""
    try:
        quietly(command, timeout_seconds=timeout_seconds)
    except CommandFailed:
        return False
    return True
