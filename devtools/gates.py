"""The gates of `dev.py check`: all of them are tried, so that one run shows everything there is to mend."""

from __future__ import annotations

from devtools.console import Command, CommandFailed, quietly, say
from devtools.environment import BIN, PYTHON, ROOT

# Typed as strictly as the service: the doors and the tests are read as often as the rest.
TYPED = [
    "milepost",
    "api/milepost_api",
    "worker/milepost_worker",
    "dev.py",
    "devtools",
    "contract",
    "tests",
    "benchmarks",
    "examples",
]


def commands() -> dict[str, Command]:
    """Name every gate and the command behind it."""
    return {
        "format": [BIN / "ruff", "format", "--check", "."],
        "lint": [BIN / "ruff", "check", "--output-format=concise", "."],
        "types": [BIN / "mypy", *TYPED],
        "arrows": [BIN / "lint-imports", "--no-cache", "--no-logo"],
        "docs": [PYTHON, "-m", "pytest", "-q", "tests/unit/test_docs.py"],
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
        say(f"Failed: {', '.join(failed)}. Ruff mends much by itself: .venv/bin/ruff check --fix")
    return 1 if failed else 0
