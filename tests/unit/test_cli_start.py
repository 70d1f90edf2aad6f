"""The command line before it talks to anybody."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from milepost.cli import exits
from milepost.cli.main import cli, main
from milepost.client import Gone, Invalid, NotFound, Refused, Unauthorized, Unreachable
from milepost.errors import JobNotFound, MilepostError, MissingExtra, SettingsError
from tests.support.process import python_environment

HEAVY = ("rich", "httpx2", "arq", "redis", "pydantic", "fastapi", "sqlalchemy", "asyncio")


def test_help_loads_nothing_heavy() -> None:
    """It is to be instant, and so is completion: what costs time is loaded by the command that needs it."""
    code = (
        "import sys, milepost.cli.main as m\n"
        "try: m.cli.main(['--help'], prog_name='milepost', standalone_mode=False)\n"
        f"finally: print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=python_environment({}), check=True
    )
    assert "Usage: milepost" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_a_summary(name: str) -> None:
    """The list of commands explains itself, without being cut off."""
    summary = cli.commands[name].get_short_help_str(limit=62)
    assert summary
    assert not summary.endswith("...")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("x"), 2),
        (MissingExtra("x"), 2),
        (Invalid("x", status=422), 2),
        (Unauthorized("x", status=401), 2),
        (NotFound("x", status=404), 3),
        (JobNotFound("x"), 3),
        (Gone("x", status=410), 3),
        (Unreachable("x"), 4),
        (Refused("x", status=503), 4),
        (Refused("x", status=429), 1),
        (MilepostError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code(error: MilepostError, code: int) -> None:
    """Scripts decide by it."""
    assert exits.code_of(error) == code


@pytest.mark.parametrize(
    "arguments", [["nope"], ["submit"], ["submit", "t", "--param", "x"], ["watch"], ["list", "--status", "happy"],
                  ["up", "--nope"], ["completion", "tcsh"], ["db", "downgrade"]]
)  # fmt: skip
def test_wrong_usage_is_2_and_a_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, without a traceback."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """That calls milepost back."""
    assert main(["completion", shell]) == 0
    assert "_MILEPOST_COMPLETE" in capsys.readouterr().out


def test_the_shell_is_told_the_commands() -> None:
    """What the script asks for."""
    env = python_environment(
        {"_MILEPOST_COMPLETE": "bash_complete", "COMP_WORDS": "milepost wa", "COMP_CWORD": "1"}
    )
    done = subprocess.run(
        [sys.executable, "-m", "milepost.cli.main"], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout.split() == ["plain,watch"]


def test_a_part_that_is_not_installed_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A client install has neither API nor worker."""
    for name in ("milepost_worker.main", "milepost_api.main"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "milepost_worker", None)
    monkeypatch.setitem(sys.modules, "milepost_api", None)
    assert main(["worker", "x"]) == 2
    assert main(["api"]) == 2
    assert main(["db", "upgrade"]) == 2
    said = capsys.readouterr().err
    assert "pip install 'milepost[worker]'" in said
    assert said.count("pip install 'milepost[server]'") == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the program."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("milepost ")


@pytest.mark.parametrize("port", ["http", "-1", "65536", "８０００", "1.5"])
def test_a_port_that_is_none_is_refused(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started."""
    monkeypatch.setenv("MILEPOST_PORT", port)
    assert main(["up"]) == 2
    assert "MILEPOST_PORT" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_gets_no_complaint() -> None:
    """`milepost --help | true` is not an error, as with every other program of a pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "milepost.cli.main", "completion", "zsh"],
            stdout=gone,
            stderr=subprocess.PIPE,
            env=python_environment({}),
            check=False,
        )
    assert done.stderr == b""
    assert done.returncode == 141
