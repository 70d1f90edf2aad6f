"""The data directory: one supervisor at a time, and no process left behind by one that was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from milepost.errors import SettingsError
from milepost.launch.house import open_house
from milepost.launch.processes import identity
from tests.support.wait import eventually_sync


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that would sleep for long."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


@pytest.fixture
def stubborn(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not care about SIGTERM."""
    ready = tmp_path / "ready"
    code = (
        f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w'); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        eventually_sync(ready.exists, "it ignores SIGTERM by now")
        yield process
        process.kill()


def quiet(_: str) -> None:
    pass


def test_a_second_supervisor_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    """By process and address."""
    with open_house(tmp_path, quiet) as house:
        house.say_where("http://127.0.0.1:8123")
        with (
            pytest.raises(SettingsError, match=rf"process {os.getpid()}, http://127\.0\.0\.1:8123"),
            open_house(tmp_path, quiet),
        ):
            pass
    with open_house(tmp_path, quiet):
        pass  # given back


def test_a_holder_that_has_not_said_its_name_is_still_a_holder(tmp_path: Path) -> None:
    """It locks before it writes."""
    with (
        open_house(tmp_path, quiet),
        pytest.raises(SettingsError, match="already runs"),
        open_house(tmp_path, quiet),
    ):
        pass


def test_the_directory_is_made_closed_to_others_and_to_git(tmp_path: Path) -> None:
    """It will hold a database and, in the environment's place, nothing that belongs in a repository."""
    path = tmp_path / "a" / "b"
    with open_house(path, quiet):
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / ".gitignore").read_text() == "*\n"


def test_a_directory_that_cannot_be_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SettingsError, match="MILEPOST_DATA_DIR"),
        open_house(tmp_path / "file" / "data", quiet),
    ):
        pass


def test_what_a_killed_supervisor_left_behind_is_ended(tmp_path: Path, sleeper) -> None:
    """With a word about it."""
    with open_house(tmp_path, quiet) as house:
        house.started("worker", sleeper.pid)
    said: list[str] = []
    with open_house(tmp_path, said.append) as house:
        house.end_leftovers()
    assert sleeper.wait(30) == -15
    assert said == [f"ending the worker (process {sleeper.pid}) that an earlier run left behind"]
    assert not (tmp_path / "processes.json").exists()


def test_a_leftover_that_will_not_go_is_killed(tmp_path: Path, stubborn, monkeypatch) -> None:
    """After its time."""
    monkeypatch.setattr("milepost.launch.house.LEFTOVER_SECONDS", 0.1)
    with open_house(tmp_path, quiet) as house:
        house.started("worker", stubborn.pid)
        house.end_leftovers()
    assert stubborn.wait(30) == -9


def test_a_stranger_with_the_pid_of_a_former_child_is_left_alone(tmp_path: Path, sleeper) -> None:
    """A pid is reused; the time of its start is not."""
    (tmp_path / "processes.json").write_text(json.dumps({"redis": [sleeper.pid, "another-boot:1"]}))
    with open_house(tmp_path, quiet) as house:
        house.end_leftovers()
    assert sleeper.poll() is None


@pytest.mark.parametrize(
    "note", ["", "[]", "{", '{"redis": 7}', '{"redis": ["x", "y"]}', '{"redis": [1, null]}']
)
def test_a_note_that_is_not_ours_ends_nobody(tmp_path: Path, note: str) -> None:
    """Process 1 among them."""
    (tmp_path / "processes.json").write_text(note)
    with open_house(tmp_path, quiet) as house:
        house.end_leftovers()


def test_a_child_that_was_stopped_is_forgotten(tmp_path: Path, sleeper) -> None:
    """The note holds those that run."""
    with open_house(tmp_path, quiet) as house:
        house.started("worker", sleeper.pid)
        house.stopped("worker")
        assert json.loads((tmp_path / "processes.json").read_text()) == {}


def test_identity_tells_the_dead_from_the_living(sleeper) -> None:
    """Also a zombie is dead."""
    before = identity(sleeper.pid)
    assert before is not None
    assert identity(sleeper.pid) == before != identity(os.getpid())
    sleeper.kill()
    eventually_sync(lambda: identity(sleeper.pid) is None, "a killed process has no identity")
