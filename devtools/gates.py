"""The gates of `dev.py check`: all of them are tried, so that one run shows everything there is to mend."""

from __future__ import annotations

from pathlib import Path

from devtools.console import CommandFailed, quietly, say
from devtools.environment import BIN, ROOT

# Typed as strictly as the service: the doors and the tests are read as often as the rest.
TYPED = ["milepost", "api/milepost_api", "worker/milepost_worker", "dev.py", "devtools", "tests"]
TYPED += ["benchmarks", "examples"]


def commands() -> dict[str, list[str | Path]]:
    """Name every gate and the command behind it."""
    typed = [path for path in TYPED if next((ROOT / path).rglob("*.py"), None) or (ROOT / path).is_file()]
    return {
        "format": [BIN / "ruff", "format", "--check", "."],
        "lint": [BIN / "ruff", "check", "."],
        "types": [BIN / "mypy", *typed],
        "arrows": [BIN / "lint-imports", "--no-timings"],
    }


def check_all() -> int:
    """Try every gate, show what each that failed has to say, and return the exit code."""
    failed = []
    for name, command in commands().items():
        try:
            quietly(command, cwd=ROOT)
        except CommandFailed as failure:
            failed.append(name)
            say(f"{name}: failed")
            print(failure.output.strip(), flush=True)
        else:
            say(f"{name}: ok")
    if failed:
        say(f"Failed: {', '.join(failed)}. `.venv/bin/ruff format .` and `ruff check --fix .` mend the first two.")
    return 1 if failed else 0
