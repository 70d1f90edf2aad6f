"""A log that cannot be written costs its lines, and not the work that they tell of."""

from __future__ import annotations

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
