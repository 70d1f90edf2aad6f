"""dev.py: the doors, and the environment behind them."""

import ast
import importlib.metadata
import os
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from devtools import console, doors, environment, gates, locks, packages

ROOT = Path(__file__).parents[2]
DEV = ROOT / "dev.py"

HOLD_UNTIL_TOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
os.kill(os.getpid(), 9)
"""


def executable(path, script):
    """Write a shell script that stands in for a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def dev(*arguments, **options):
    return subprocess.run(
        [sys.executable, DEV, *arguments], capture_output=True, text=True, check=False, timeout=60, **options
    )


def test_an_older_python_can_read_dev_py_far_enough_to_find_a_younger_one():
    ast.parse(DEV.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("path", [DEV, *sorted((ROOT / "devtools").glob("*.py"))], ids=lambda path: path.name)
def test_the_doors_need_nothing_but_the_standard_library(path):
    allowed = sys.stdlib_module_names | {"devtools"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] in allowed


def test_the_newest_python_that_starts_is_chosen(tmp_path, monkeypatch):
    executable(tmp_path / "python3.14", "exit 127")  # such as a pyenv shim for a version that is not active
    wanted = executable(tmp_path / "python3.13", "exit 0")
    executable(tmp_path / "python3.12", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert runpy.run_path(str(DEV))["younger_python"]() == str(wanted)


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"]])
def test_help_names_every_door(arguments):
    answer = dev(*arguments)

    assert answer.returncode == 0
    for door in doors.DOORS:
        assert f"python3 dev.py {door} " in answer.stdout


def test_an_unknown_command_is_a_sentence_and_exit_code_2():
    answer = dev("rnu")

    assert answer.returncode == 2
    assert answer.stderr.startswith("[dev] There is no command 'rnu'; there are run, test, check, ")


def test_the_checkout_is_installed_under_its_name_with_its_console_script():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert importlib.metadata.version("milepost") == project["version"]
    for name, target in project["scripts"].items():
        assert importlib.metadata.entry_points(group="console_scripts")[name].value == target
        assert os.access(environment.BIN / name, os.X_OK)


def test_a_whole_environment_is_recognised_and_a_changed_lock_is_not(monkeypatch, tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("one==1\n")
    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(environment, "PYTHON", Path(sys.executable))
    monkeypatch.setitem(environment.LOCKS, "run", lock)

    assert not environment.is_ready("run")
    environment.stamp("run").write_text(environment.fingerprint("run"))
    assert environment.is_ready("run")
    lock.write_text("one==2\n")
    assert not environment.is_ready("run")


def test_two_commands_at_once_take_turns(monkeypatch, tmp_path, capfd):
    """The second one says that it waits, and goes on when the first has gone, however it went."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_UNTIL_TOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"

    def say_and_let_go(sentence):
        console.say(sentence)
        holder.communicate("go\n")

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "say", say_and_let_go)

    with environment.alone():
        assert holder.returncode == -9

    assert "waiting for it to finish" in capfd.readouterr().err


@pytest.mark.parametrize("home", ["", "/nonexistent", "relative"])
def test_without_a_home_the_caches_live_inside_the_environment(home, monkeypatch):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_CACHE_HOME", "")

    environment.keep_caches_here()

    assert os.environ["XDG_CACHE_HOME"] == str(environment.VENV / "cache")


def test_a_home_of_ones_own_keeps_its_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    environment.keep_caches_here()

    assert "XDG_CACHE_HOME" not in os.environ


def test_a_half_made_environment_is_made_anew(monkeypatch, tmp_path, capfd):
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/gone")
    for name, value in {"VENV": venv, "PYTHON": venv / "bin/python", "UV": venv / "bin/uv"}.items():
        monkeypatch.setattr(packages, name, value)
    monkeypatch.setattr(packages, "by_venv", venv.mkdir)

    packages.ensure_venv()

    assert list(venv.iterdir()) == []
    assert "incomplete; making it anew" in capfd.readouterr().err


def test_what_pip_knows_of_the_index_is_handed_to_uv():
    listing = """\
:env:.index-url='http://from-the-environment/simple'
global.cert='/etc/company.pem'
global.extra-index-url='\\nhttp://one/simple\\nhttp://two/simple'
global.find-links='/wheels /more'
global.index-url='http://from-the-file/simple'
global.timeout='60'
"""
    assert packages.from_pip(listing) == {
        "UV_DEFAULT_INDEX": "http://from-the-environment/simple",
        "UV_INDEX": "http://one/simple http://two/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/etc/company.pem",
    }
    assert packages.from_pip("") == {}


def test_uv_is_installed_by_the_hashes_of_the_lock():
    lines = packages.stanza(environment.LOCKS["test"].read_text(), "uv").splitlines()

    assert lines[0].startswith("uv==")
    assert all(line.startswith(" ") for line in lines[1:])
    assert any("--hash=sha256:" in line for line in lines[1:])


def test_an_installation_without_a_network_ends_in_a_sentence(monkeypatch):
    def unreachable(lock):
        raise console.CommandFailed(["pip"], "ERROR: no route to anywhere")

    monkeypatch.setattr(packages, "with_uv", unreachable)
    monkeypatch.setattr(packages, "with_pip", unreachable)

    with pytest.raises(console.Stop, match=r"Is there a network(.|\n)*no route to anywhere"):
        packages.install(environment.LOCKS["run"])


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        ("one==1 \\\n    --hash=sha256:00\n    # via two\ntwo==2 ; a < '4' \\\n    --hash=sha256:01\n", None),
        ("one==1 \\\n    --hash=sha256:00\ntwo==2\n", "two has no hash"),
        ("--index-url http://somewhere/simple\none==1 \\\n    --hash=sha256:00\n", "it names a host"),
    ],
)
def test_a_lock_that_names_a_host_or_lacks_a_hash_is_not_written(lock, fault):
    assert locks.fault_in(lock) == fault


def test_check_shows_every_gate_that_failed(monkeypatch, tmp_path, capfd):
    broken = {
        "one": [executable(tmp_path / "one", "echo first reason; exit 1")],
        "two": [executable(tmp_path / "two", "exit 0")],
        "three": [executable(tmp_path / "three", "echo third reason; exit 1")],
    }
    monkeypatch.setattr(gates, "commands", lambda: broken)

    assert gates.check_all() == 1

    shown = capfd.readouterr()
    assert "first reason" in shown.out
    assert "third reason" in shown.out
    assert "two: ok" in shown.err
    assert "Failed: one, three." in shown.err


def test_a_program_that_is_missing_or_hangs_fails_like_one_that_says_no(tmp_path):
    with pytest.raises(console.CommandFailed):
        console.quietly([tmp_path / "missing"])
    with pytest.raises(console.CommandFailed, match="sleeper failed"):
        console.quietly([executable(tmp_path / "sleeper", "exec sleep 30")], timeout_seconds=0.2)


def test_what_is_started_compiles_its_modules_once_and_not_into_the_tree():
    """Where the environment forbids bytecode in the tree, it goes into .venv; else nothing changes."""
    forbidden = doors.compiled_once({"PYTHONDONTWRITEBYTECODE": "1", "A": "b"})
    assert forbidden == {"PYTHONPYCACHEPREFIX": str(environment.VENV / "pycache"), "A": "b"}
    assert doors.compiled_once({"A": "b"}) == {"A": "b"}
