"""The `milepost` command as people use it: everything started by `milepost up`, commands against it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from milepost.launch.processes import identity
from tests.support.ports import free_port
from tests.support.process import Process, python_environment
from tests.support.wait import DEADLINE_SECONDS, eventually_sync

MILEPOST = (sys.executable, "-m", "milepost.cli.main")


class Up:
    """`milepost up` on a data directory of its own."""

    def __init__(self, folder: Path, *modules: str, **settings: str) -> None:
        self.data, self.port = folder / "data", free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = {"MILEPOST_PORT": str(self.port), "MILEPOST_DATA_DIR": str(self.data), **settings}
        env = python_environment(self.settings)
        self.process = Process("up", [*MILEPOST, "up", *modules], log=folder / "up.log", env=env, cwd=folder)
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.process.start()
        self.process.wait_until(lambda: f"Milepost is ready on {self.url}" in self.process.output())
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.alive:
            self.process.stop()

    def children(self) -> dict[str, tuple[int, str]]:
        return {
            name: tuple(known)
            for name, known in json.loads((self.data / "processes.json").read_text()).items()
        }

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command against it."""
        return subprocess.run(
            [*MILEPOST, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=python_environment({"MILEPOST_URL": self.url}),
            timeout=60,
            check=False,
        )

    def submit(self, *arguments: str) -> str:
        """Submit and return the id, which is all that stands on standard output."""
        done = self.run("submit", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for all tests that only use it."""
    quick = {
        "MILEPOST_LEASE_SECONDS": "4",
        "MILEPOST_SILENCE_SECONDS": "2",
    }  # for the test that kills the worker
    with Up(tmp_path_factory.mktemp("up"), **quick) as running:
        yield running


COUNT = ("demo.count", "-p", "steps=3", "-p", "delay_seconds=0.01")
ENDLESS = ("demo.ticker", "-p", "symbol=ACME", "-p", "interval_seconds=0.05")


def test_submit_prints_the_id_and_watch_the_way_to_success(up: Up) -> None:
    """Without a terminal: plain lines, the result last, exit code 0."""
    job_id = up.submit(*COUNT)
    done = up.run("watch", job_id)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2].endswith("succeeded")
    assert done.stdout.splitlines()[-1] == "result: 3"
    assert done.stderr == ""


def test_a_job_that_fails_is_exit_code_1_with_its_reason(up: Up) -> None:
    """`submit --follow` is a way to run a job in a script."""
    done = up.run("submit", *COUNT, "-p", "fail_at=2", "--follow")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith("failed: RuntimeError: asked to fail at step 2 (exception)")


def test_a_job_that_is_cancelled_is_exit_code_1_too(up: Up) -> None:
    """And cancel says what it did."""
    job_id = up.submit(*ENDLESS)
    assert up.run("cancel", job_id).returncode == 0
    assert up.run("watch", job_id, "-q").returncode == 1
    assert up.run("cancel", job_id).stdout == "It had ended already; nothing was changed.\n"
    assert json.loads(up.run("cancel", job_id, "--json").stdout)["outcome"] == "already_done"


def test_json_is_the_events_one_a_line_down_to_the_end(up: Up) -> None:
    """As on the wire."""
    done = up.run("submit", *COUNT, "--follow", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert events[0]["type"] == "snapshot"
    assert [event["type"] for event in events].count("end") == 1
    assert events[-1]["result"] == 3
    history = [event["seq"] for event in events if event["type"] != "waiting"]
    assert history == sorted(set(history))


def test_params_come_as_pairs_as_a_document_and_from_standard_input(up: Up) -> None:
    """And a refusal says which."""
    done = up.run(
        "submit",
        "demo.count",
        "--params-json",
        "-",
        "-p",
        "steps=2",
        "-f",
        "-q",
        stdin='{"delay_seconds": 0}',
    )
    assert done.returncode == 0, done.stderr
    wrong = up.run("submit", "demo.count", "-p", "steps=many")
    assert wrong.returncode == 2
    assert "steps" in wrong.stderr
    unknown = up.run("submit", "demo.cuont")
    assert unknown.returncode == 2
    assert "demo.count" in unknown.stderr  # the sentence names the known ones


def test_list_and_tasks_for_people_and_for_programs(up: Up) -> None:
    """Columns, or JSON."""
    job_id = up.submit(*COUNT, "--tag", "wanted")
    assert up.run("watch", job_id, "-q").returncode == 0
    # The list comes from the records, which follow a moment behind.
    eventually_sync(
        lambda: job_id in up.run("list", "--tag", "wanted", "--status", "succeeded").stdout, "it is listed"
    )
    page = json.loads(up.run("list", "--tag", "wanted", "--json").stdout)
    assert [(job["id"], job["status"]) for job in page["items"]] == [(job_id, "succeeded")]
    assert page["next_cursor"] is None
    assert re.search(r"^demo\.count +\[steps\]", up.run("tasks").stdout, re.MULTILINE)
    assert "demo.count" in {task["name"] for task in json.loads(up.run("tasks", "--json").stdout)["items"]}
    assert json.loads(up.run("result", job_id).stdout) == 3


@pytest.mark.parametrize("command", ["watch", "cancel", "result"])
@pytest.mark.parametrize("job_id", ["0190aaaa-0000-7000-8000-000000000000", "../tasks", "no such id"])
def test_what_is_not_there_is_exit_code_3(up: Up, command: str, job_id: str) -> None:
    """One sentence on standard error."""
    done = up.run(command, job_id)
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_is_not_there_is_exit_code_4() -> None:
    """With the way to start one."""
    done = subprocess.run(
        [*MILEPOST, "watch", "x", "--url", f"http://127.0.0.1:{free_port()}"],
        capture_output=True, text=True, env=python_environment({}), timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "milepost up" in done.stderr
    assert "Traceback" not in done.stderr


# --- a terminal


class Typist:
    """A command at a pseudo-terminal, and what it drew."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        ours, theirs = pty.openpty()
        self.fd, self.drawn = ours, ""
        self.process = subprocess.Popen(
            [*MILEPOST, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env=python_environment({**env, "TERM": "xterm-256color", "COLUMNS": "120"}),
        )  # fmt: skip
        os.close(theirs)

    def until(self, text: str) -> None:
        """Read until `text` was drawn."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.drawn:
            assert time.monotonic() < deadline, f"{text!r} was not drawn: {self.drawn[-2000:]!r}"
            if not self._read():
                break
        assert text in self.drawn, self.drawn[-2000:]

    def end(self) -> int:
        while self._read():
            pass
        os.close(self.fd)
        return self.process.wait(DEADLINE_SECONDS)

    def _read(self) -> bool:
        if not select.select([self.fd], [], [], DEADLINE_SECONDS)[0]:
            return False
        try:
            data = os.read(self.fd, 65_536)
        except OSError:
            return False  # Linux says EIO when the last writer has gone
        self.drawn += data.decode("utf-8", "replace")
        return bool(data)


def test_at_a_terminal_a_bar_moves_to_100(up: Up) -> None:
    """And the cursor is back at the end."""
    typist = Typist(
        "submit", "demo.count", "-p", "steps=4", "-p", "delay_seconds=0.2", "-f", env={"MILEPOST_URL": up.url}
    )
    typist.until("75%")
    assert typist.end() == 0
    assert "━" in typist.drawn
    assert "100%" in typist.drawn
    assert "succeeded" in typist.drawn
    assert typist.drawn.rindex("\x1b[?25h") > typist.drawn.rindex("\x1b[?25l")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_leaving_a_terminal_leaves_the_job_and_brings_the_cursor_back(up: Up, number: int, code: int) -> None:
    """Ctrl-C says how to come back and how to cancel."""
    typist = Typist("submit", *ENDLESS, "-f", "--url", up.url, env={})
    typist.until("ticks")
    os.kill(typist.process.pid, number)
    assert typist.end() == code
    assert typist.drawn.rindex("\x1b[?25h") > typist.drawn.rindex("\x1b[?25l")
    assert "Traceback" not in typist.drawn
    job_id = re.search(r"Job (\S+)", typist.drawn)
    assert job_id is not None
    if number == signal.SIGINT:
        assert f"milepost watch {job_id[1]} --url {up.url}" in typist.drawn
        assert f"milepost cancel {job_id[1]} --url {up.url}" in typist.drawn
    assert (
        up.run("cancel", job_id[1], "--json").stdout.strip().endswith('"requested"}')
    )  # it was still running


def test_no_colour_where_none_is_wanted(up: Up) -> None:
    """NO_COLOR leaves a bar without colours."""
    typist = Typist("submit", *COUNT, "-f", "--no-color", env={"MILEPOST_URL": up.url})
    assert typist.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", typist.drawn)


# --- up itself


def still_there(children: dict[str, tuple[int, str]]) -> list[str]:
    """Names of the children that live."""
    return [name for name, (pid, known) in children.items() if identity(pid) == known]


@pytest.mark.slow
def test_jobs_survive_a_restart_of_everything(tmp_path: Path) -> None:
    """A finished one is there, and one that was running runs again to its end."""
    with Up(tmp_path, MILEPOST_DRAIN_SECONDS="0.1") as first:
        done = first.submit(*COUNT)
        assert first.run("watch", done, "-q").returncode == 0
        halfway = first.submit("demo.count", "-p", "steps=40", "-p", "delay_seconds=0.1")
        assert first.process.stop(signal.SIGTERM) == 0
    with Up(tmp_path) as second:
        assert second.run("result", done).stdout == "3\n"
        assert second.run("watch", halfway, "-q").returncode == 0


@pytest.mark.slow
def test_ctrl_c_stops_all_of_it_in_order(tmp_path: Path) -> None:
    """API, worker, Redis; nothing is left; exit code 130."""
    with Up(tmp_path) as running:
        children = running.children()
        assert running.process.stop(signal.SIGINT) == 130
    assert list(children) == ["redis", "worker", "api"]
    assert [identity(pid) for pid, _ in children.values()] == [None] * 3
    output = running.process.output()
    assert output.index("Shutting down") < output.index("worker.drains")
    assert output.rstrip().endswith("stopped; accepted jobs are kept for the next start")
    assert running.children() == {}


@pytest.mark.slow
def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    """Not even for the next start, which works at once."""
    with Up(tmp_path) as running:
        children = running.children()
        running.process.send(signal.SIGKILL)
        running.process.wait()
        if sys.platform == "linux":
            eventually_sync(lambda: not still_there(children), "all children have gone")
    with Up(tmp_path) as again:
        assert again.run("list").returncode == 0


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_job_goes_on(up: Up) -> None:
    """kill -9 in the middle: another attempt, and the watcher sees it through."""
    command = (
        "submit",
        "demo.count",
        "-p",
        "steps=30",
        "-p",
        "delay_seconds=0.1",
        "--max-attempts=2",
        "-f",
        "--json",
    )
    env = python_environment({"MILEPOST_URL": up.url})
    with subprocess.Popen([*MILEPOST, *command], stdout=subprocess.PIPE, text=True, env=env) as watching:
        assert watching.stdout is not None
        events = []
        for line in watching.stdout:
            events.append(json.loads(line))
            if len(events) == 5:
                os.kill(up.children()["worker"][0], signal.SIGKILL)
    assert watching.returncode == 0
    assert events[-1]["attempt"] == 2
    history = [event["seq"] for event in events if event["type"] != "waiting"]
    assert history == sorted(set(history))
    assert "the worker was ended by SIGKILL; starting it again" in up.process.output()


def test_a_killed_redis_is_replaced_under_the_same_address(up: Up) -> None:
    """With all it knew; the watcher and the worker live through it."""
    before = up.children()["redis"]
    job_id = up.submit("demo.count", "-p", "steps=30", "-p", "delay_seconds=0.1")
    os.kill(before[0], signal.SIGKILL)
    watched = up.run("watch", job_id)
    assert watched.returncode == 0, (watched.stdout, watched.stderr, up.process.output())
    assert up.children()["redis"] != before


def test_a_port_in_use_and_a_taken_directory_are_refused_with_a_sentence(up: Up, tmp_path: Path) -> None:
    """Exit code 2, and nothing was started."""
    for settings, words in (
        ({"MILEPOST_PORT": str(up.port), "MILEPOST_DATA_DIR": str(tmp_path)}, f"Port {up.port} of 127.0.0.1"),
        ({"MILEPOST_PORT": "0", "MILEPOST_DATA_DIR": str(up.data)}, f"process {up.process.pid}, {up.url}"),
    ):
        done = subprocess.run(
            [*MILEPOST, "up"],
            capture_output=True,
            text=True,
            env=python_environment(settings),
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_start_that_fails_stops_the_rest_and_says_why(tmp_path: Path) -> None:
    """Exit code 1, the last words of the one that could not start."""
    env = python_environment({"MILEPOST_PORT": "0", "MILEPOST_DATA_DIR": str(tmp_path / "data")})
    done = subprocess.run(
        [*MILEPOST, "up", "no.such.module"], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "The worker did not start" in done.stderr
    assert "no.such.module" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "data" / "processes.json").read_text()) == {}


@pytest.mark.parametrize("unread", ["terminal", "pipe"])
def test_output_that_nobody_reads_holds_nothing_up(tmp_path: Path, unread: str) -> None:
    """A pager that was left open, a terminal that is paused: what goes wrong is said all the same, and it ends."""
    reading, writing = os.pipe() if unread == "pipe" else pty.openpty()
    _fill(writing)
    settings = {"MILEPOST_PORT": "0", "MILEPOST_DATA_DIR": str(tmp_path / "data"), "PYTHONUNBUFFERED": ""}
    env = python_environment(settings)  # as people have it: a buffer, and its lock
    done = subprocess.run(
        [*MILEPOST, "up", "no.such.module"],
        stdout=writing, stderr=subprocess.PIPE, text=True, env=env, timeout=60, check=False,
    )  # fmt: skip
    os.close(reading)
    os.close(writing)
    assert done.returncode == 1
    assert "no.such.module" in done.stderr
    assert "Fatal" not in done.stderr


def _fill(pipe: int) -> None:
    """Write until the kernel takes no more."""
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x")
    os.set_blocking(pipe, True)


@pytest.mark.slow
def test_modules_of_ones_own_are_offered_beside_the_built_in(tmp_path: Path) -> None:
    """From where one stands."""
    (tmp_path / "mine.py").write_text(
        "from milepost import task\n\n\n"
        "@task(name='mine.hello')\nasync def hello(name: str) -> str:\n    return f'hello {name}'\n"
    )
    with Up(tmp_path, "mine") as running:
        done = running.run("submit", "mine.hello", "-p", "name=world", "-f")
        assert done.stdout.splitlines()[-1] == 'result: "hello world"'
        assert running.run("submit", *COUNT, "-f", "-q").returncode == 0
