"""A start that cannot go well is refused: one sentence on standard error, exit code 2, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.process import python_environment
from tests.support.redis import RedisServer

GOOD = "from milepost import task\n\n@task(name='same')\ndef {name}() -> None: ...\n"
FILES = {
    "good": GOOD.format(name="good"),
    "twin": GOOD.format(name="other"),
    "broken": "x = 1\ny = = 2\n",
    "raises": "import json\n\njson.loads('{')\n",
    "leaves": "import sys\n\nsys.exit('no config')\n",
    "lacks": "import not_installed_anywhere\n",
    "empty": "",
    "bad_task": "from milepost import task\n\n@task(max_attempts=0)\ndef f() -> None: ...\n",
    "threads": "import threading\n\nthreading.Thread(target=threading.Event().wait).start()\n",
    "lines": "raise ValueError('one\\ntwo')\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, source in FILES.items():
        (tmp_path / f"{name}.py").write_text(source, "utf-8")
    return tmp_path


def refused(folder: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
    """Start a worker there and return its one sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "milepost_worker", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=python_environment({"MILEPOST_REDIS_WAIT_SECONDS": "0", **(settings or {})}),
        timeout=100,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("20")]  # 2026-…: a log line
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done.stderr
    assert lines[0].startswith("milepost worker: ")
    return lines[0].removeprefix("milepost worker: ")


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (["goood"], ["There is no module 'goood'", "{folder}", "PYTHONPATH"]),
        (["good.py"], ["'good.py' is no name of a module", "did you mean 'good'?"]),
        (["./good.py"], ["did you mean 'good'?"]),
        (["a-b"], ["'a-b' is no name of a module"]),
        (["good..x"], ["'good..x' is no name of a module"]),
        (["broken"], ["'broken'", "invalid syntax", "{folder}/broken.py, line 2"]),
        (["raises"], ["'raises' raised JSONDecodeError on import", "line"]),
        (["leaves"], ["'leaves' raised SystemExit on import: no config", "{folder}/leaves.py, line 3"]),
        (
            ["lacks"],
            ["imports 'not_installed_anywhere', which is not installed", "{folder}/lacks.py, line 1"],
        ),
        (["empty"], ["No task is defined in empty", "@task"]),
        (["bad_task"], ["Task 'f': max_attempts is 0"]),
        (["lines"], ["raised ValueError on import: one two"]),
        (["good", "twin"], ["Two tasks are named 'same': good.good and twin.other. Rename one."]),
    ],
)
def test_a_module_that_will_not_do(folder: Path, modules: list[str], words: list[str]) -> None:
    """What is wrong, where, and where that can be told, what to do."""
    sentence = refused(folder, *modules)
    assert [word for word in words if word.format(folder=folder) not in sentence] == []


@pytest.mark.parametrize("modules", [["threads", "goood"], ["threads", "good"]])
def test_a_thread_that_a_module_has_started_keeps_no_refused_worker(folder: Path, modules: list[str]) -> None:
    """Refused by a module or by Redis: whoever waits for its end would wait for that of the thread."""
    sentence = refused(folder, *modules, settings={"MILEPOST_REDIS_URL": "redis://127.0.0.1:1/0"})
    assert ("goood" if "goood" in modules else "127.0.0.1:1 cannot be reached") in sentence


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (["--concurrency", "0"], {}, ["--concurrency", "x>=1"]),
        (["--concurrency", "many"], {}, ["--concurrency", "'many'"]),
        (["--queue", "a b"], {}, ["--queue", "'a b' is no queue name"]),
        (["--no-such-option"], {}, ["--no-such-option"]),
        (["--metrics-port", "70000"], {}, ["--metrics-port"]),
        (["--pid", "1"], {}, ["--check"]),
        (["--watch", "--burst"], {}, ["--burst"]),
        ([], {"MILEPOST_CONCURRENCY": "0"}, ["MILEPOST_CONCURRENCY is '0'"]),
        ([], {"MILEPOST_QUEUES": "a b"}, ["MILEPOST_QUEUES", "'a b' is no queue name"]),
        ([], {"MILEPOST_DRAIN_SECONDS": "soon"}, ["MILEPOST_DRAIN_SECONDS is 'soon'"]),
        ([], {"MILEPOST_REDIS_URL": "localhost:6379"}, ["MILEPOST_REDIS_URL", "redis://"]),
        ([], {"MILEPOST_REDIS_URL": "redis://h:port/0"}, ["MILEPOST_REDIS_URL", "port"]),
        ([], {"MILEPOST_REDIS_URL": "redis://h/jobs"}, ["MILEPOST_REDIS_URL", "'jobs' is no number"]),
        ([], {"MILEPOST_REDIS_URL": "redis://h/0?colour=red"}, ["MILEPOST_REDIS_URL", "colour"]),
        ([], {"MILEPOST_REDIS_URL": "redis://127.0.0.1:1/0"}, ["127.0.0.1:1 cannot be reached"]),
        (
            [],
            {"MILEPOST_REDIS_URL": "redis://u:s3cret@no-such-host.invalid/0"},
            ["Redis at no-such-host.invalid:6379 cannot be reached"],
        ),
    ],
)
def test_a_setting_that_will_not_do(
    folder: Path, arguments: list[str], settings: dict[str, str], words: list[str]
) -> None:
    """Named as it was given: as an option or as a variable; a password is never repeated."""
    sentence = refused(folder, *arguments, settings=settings)
    assert [word for word in words if word not in sentence] == []
    assert "s3cret" not in sentence


def test_a_redis_that_does_not_let_us_in_is_not_waited_for(folder: Path, redis_server: RedisServer) -> None:
    """Asking again would not help."""
    wait = {"MILEPOST_REDIS_WAIT_SECONDS": "3600"}
    url = redis_server.url
    wrong_password = url.replace("redis://", "redis://somebody:s3cret@")
    sentence = refused(folder, settings={"MILEPOST_REDIS_URL": wrong_password, **wait})
    assert "does not let us in" in sentence
    assert "s3cret" not in sentence
    no_database = url.rpartition("/")[0] + "/9999"
    sentence = refused(folder, settings={"MILEPOST_REDIS_URL": no_database, **wait})
    assert "DB index is out of range" in sentence


@pytest.fixture
def taken_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


def test_a_port_for_metrics_that_is_in_use(folder: Path, redis_server: RedisServer, taken_port: int) -> None:
    """Numbers that nobody can read are no numbers."""
    settings = {"MILEPOST_REDIS_URL": redis_server.url, "MILEPOST_METRICS_PORT": str(taken_port)}
    sentence = refused(folder, settings=settings)
    assert f"MILEPOST_METRICS_PORT is {taken_port}" in sentence
    assert os.strerror(98) in sentence
