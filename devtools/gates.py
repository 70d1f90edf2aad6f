"""The gates of `dev.py check`: all of them are tried, so that one run shows everything there is to mend."""

from __future__ import annotations

import re
from pathlib import Path

from devtools.console import Command, CommandFailed, quietly, say
from devtools.environment import BIN, ROOT, VENV

# Typed as strictly as the service: the doors and the tests are read as often as the rest.
PACKAGES = ["milepost", "api/milepost_api", "worker/milepost_worker"]
TYPED = [*PACKAGES, "dev.py", "devtools", "tests", "benchmarks", "examples"]


def commands() -> dict[str, Command]:
    """Name every gate and the command behind it."""
    typed = [path for path in TYPED if (ROOT / path).is_file() or next((ROOT / path).rglob("*.py"), None)]
    gates: dict[str, Command] = {
        "format": [BIN / "ruff", "format", "--check", "."],
        "lint": [BIN / "ruff", "check", "--output-format=concise", "."],
        "types": [BIN / "mypy", *typed],
    }
    missing = [package for package in PACKAGES if not (ROOT / package).is_dir()]
    if missing:
        say(f"arrows: not checked before there is {' and '.join(missing)}")
    else:
        gates["arrows"] = [BIN / "lint-imports", "--no-cache", "--no-logo", "--config", arrows_config()]
    return gates


def arrows_config() -> Path:
    """Return import-linter's contracts without the modules that are still to be written.

    It refuses a contract about a module that does not exist. Nothing is left out once the house is whole.
    """
    text = (ROOT / "pyproject.toml").read_text()
    _, section, contracts = text.partition("[tool.importlinter]\n")

    def exists(line: str) -> bool:
        named = re.fullmatch(r'\s*"(milepost(?:\.[a-z_]+)*)",\s*', line)
        path = ROOT / named[1].replace(".", "/") if named else ROOT
        return path.is_dir() or path.with_suffix(".py").is_file()

    config = VENV / "importlinter.toml"
    config.write_text(section + "".join(line for line in contracts.splitlines(keepends=True) if exists(line)))
    return config


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
