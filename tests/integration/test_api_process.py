"""The process: what it refuses to start with, and how it leaves."""

from __future__ import annotations

import signal
import sqlite3
from functools import partial
from pathlib import Path

import httpx2
import pytest
from milepost_api.records.revisions import head

from tests.support.ports import free_port
from tests.support.process import Process
from tests.support.redis import RedisServer


def api(tmp_path: Path, *argv: str, **settings: str) -> Process:
    given = {"MILEPOST_DATA_DIR": str(tmp_path / "data"), **settings}
    return Process.python("api", "-m", "milepost_api", *argv, log=tmp_path / "api.log", settings=given)


def _is_ok(url: str) -> bool:
    return httpx2.get(url).status_code == 200


def refused(process: Process) -> tuple[int, str]:
    with process:
        return process.wait(), process.output()


def test_it_serves_and_leaves_cleanly_on_sigterm(tmp_path: Path, redis_server: RedisServer) -> None:
    """SIGTERM is the ordinary way to end: exit code 0; Ctrl-C is 130; the database has been made."""
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        port = str(free_port())
        process = api(tmp_path, MILEPOST_PORT=port, MILEPOST_REDIS_URL=redis_server.url)
        with process:
            ready = f"http://127.0.0.1:{port}/readyz"
            process.wait_until(partial(_is_ok, ready), ignoring=(httpx2.TransportError,))
            assert process.stop(number) == code, process.output()
    with sqlite3.connect(tmp_path / "data" / "milepost.db") as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"MILEPOST_HOST": "0.0.0.0"}, "Set MILEPOST_API_KEYS"),
        ({"MILEPOST_PORT": "99999"}, "MILEPOST_PORT is '99999'"),
        ({"MILEPOST_DATABASE_URL": "mysql://u:hunter2@h/d"}, "MILEPOST_DATABASE_URL is neither"),
        ({"MILEPOST_DATABASE_URL": "sqlite:///:memory:"}, "names no file"),
        ({"MILEPOST_API_KEYS_FILE": "/nowhere"}, "MILEPOST_API_KEYS_FILE cannot be read"),
        ({"MILEPOST_SILENCE_SECONDS": "20"}, "must be less than"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(
    tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    """Exit code 2, the sentence, no traceback, and no password."""
    code, output = refused(api(tmp_path, **settings))
    assert (code, sentence in output, "Traceback" in output) == (2, True, False), output
    assert "hunter2" not in output


def test_a_database_that_cannot_be_reached_is_said_to_be(tmp_path: Path) -> None:
    """Exit code 4: nothing is wrong here, start again later."""
    url = f"postgresql://app:hunter2@127.0.0.1:{free_port()}/x"
    code, output = refused(api(tmp_path, MILEPOST_DATABASE_URL=url))
    assert (code, "Traceback" in output, "hunter2" in output) == (4, False, False), output


async def test_postgresql_is_upgraded_by_its_own_command(tmp_path: Path, postgres_url: str) -> None:
    """Serving refuses an old schema and names the command; the command makes it right."""
    url = postgres_url.replace("+asyncpg", "")
    code, output = refused(api(tmp_path, MILEPOST_DATABASE_URL=url))
    assert (code, "Run: milepost db upgrade" in output) == (2, True), output

    assert refused(api(tmp_path, "db", "upgrade", MILEPOST_DATABASE_URL=url))[0] == 0
    code, output = refused(api(tmp_path, "db", "current", MILEPOST_DATABASE_URL=url))
    assert code == 0
    assert f"{head()} (current)" in output


def test_an_unknown_command_is_answered_with_usage(tmp_path: Path) -> None:
    """Usage goes with exit code 2, and with 0 where it was asked for."""
    code, output = refused(api(tmp_path, "db", "sidegrade"))
    assert (code, "Usage:" in output) == (2, True)
    assert refused(api(tmp_path, "--help"))[0] == 0
