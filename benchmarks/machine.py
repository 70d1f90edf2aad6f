"""The words that belong to every figure: which machine, and which versions of everything that was measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from redis import Redis

from benchmarks.sides.better_sse import BETTER_SSE, PROGRAM
from benchmarks.sides.nchan import NCHAN
from benchmarks.sides.tools import tool

PACKAGES = (
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "starlette",
    "sse-starlette",
    "redis",
    "hiredis",
    "arq",
)


def words(url: str) -> list[tuple[str, str]]:
    """Describe where and with what a run was made."""
    return [
        ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("system", f"{_distribution()}, kernel {platform.release()}, {platform.machine()}"),
        ("Python", platform.python_version()),
        ("packages", ", ".join(f"{name} {version(name)}" for name in PACKAGES)),
        ("Redis", _redis(url)),
        ("peers", ", ".join(_peers())),
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())


def _redis(url: str) -> str:
    with Redis.from_url(url) as redis:
        found = redis.info("server")
    name = str(found.get("server_name", "redis")).capitalize()
    return f"{name} {found.get('valkey_version') or found['redis_version']}"


def _peers() -> Iterator[str]:
    if BETTER_SSE.is_here:
        yield "Node " + _said(tool("MILEPOST_BENCH_NODE"), "--version").lstrip("v")
        manifest = PROGRAM.parent / "node_modules" / "better-sse" / "package.json"
        yield f"better-sse {json.loads(manifest.read_text('utf-8'))['version']}"
    if NCHAN.is_here:
        yield _said(tool("MILEPOST_BENCH_NGINX"), "-v").rpartition(" ")[2]
        yield "nchan " + _nchan()


def _nchan() -> str:
    """Ask Debian's package manager; elsewhere nobody knows: the module does not say."""
    try:
        return _said("dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan")
    except (OSError, subprocess.CalledProcessError):
        return "of unknown version"


def _said(*command: str) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip()
