"""A log that cannot be written, or is not read, costs its lines, and not the work that they tell of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import python_environment

PROGRAM = """
import logging, resource, structlog
from milepost.logs import configure_logs
from milepost.settings import Settings
configure_logs(Settings())
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
structlog.get_logger().warning("unseen")
logging.getLogger("library").warning("unseen too")
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
structlog.get_logger().warning("seen again")
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_does_not_end_who_logs(tmp_path: Path, unbuffered: str) -> None:
    """The recorder would stop for good at the very moment at which it says that it waits for the disk."""
    path = tmp_path / "log"
    environment = python_environment({}) | {"PYTHONUNBUFFERED": unbuffered}
    with path.open("ab") as stderr:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], stderr=stderr, env=environment, timeout=60, check=False
        )
    told = path.read_text()
    assert done.returncode == 0, told
    assert "writes to this log failed: [Errno 27]" in told
    assert "seen again" in told.splitlines()[-1]


TALKATIVE = """
import logging, os, structlog, sys
from milepost.logs import configure_logs
from milepost.settings import Settings
configure_logs(Settings())
for number in range(3000):
    structlog.get_logger().warning("structured", number=number, text="\u00fc" * 200)
    logging.getLogger("library").warning("of a library %d " + "x" * 6000, number)
print("done", flush=True)
sys.stdin.readline()
structlog.get_logger().warning("heard again")
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads_does_not_stop_who_logs(unbuffered: str) -> None:
    """An event loop would stand still with all its streams. What was lost is told to who reads in the end."""
    environment = python_environment({}) | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        [sys.executable, "-c", TALKATIVE],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as talker:
        assert talker.stdin
        assert talker.stdout
        assert talker.stderr
        assert talker.stdout.readline() == b"done\n"  # with both pipes of the log full
        told = os.read(talker.stderr.fileno(), 1 << 20)
        talker.stdin.write(b"\n")
        talker.stdin.close()
        told += talker.stderr.read()
    lines = told.decode().splitlines()
    assert "number=0" in lines[0]
    assert "of a library 0" in lines[1]
    assert re.fullmatch(r"\d+ writes to this log failed: \[Errno 11\] it is not read", lines[-2])
    assert "heard again" in lines[-1]
    assert talker.returncode == 0
