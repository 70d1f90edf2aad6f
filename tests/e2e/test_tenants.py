"""Two tenants at one installation of real processes: each has its key and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from tests.support.process import python_environment
from tests.support.redis import RedisServer
from tests.support.stack import Stack

pytestmark = pytest.mark.anyio
KEYS = {"acme": "key-of-acme", "globex": "key:of:globex"}
SETTINGS = {"MILEPOST_API_KEYS": ",".join(f"{tenant}:{key}" for tenant, key in KEYS.items())}
NO_SUCH_JOB = 3


@pytest.fixture
async def house(tmp_path, redis_server: RedisServer) -> AsyncIterator[Stack]:
    async with Stack(tmp_path, redis_server, apis=2, settings=SETTINGS) as running:
        yield running


async def milepost(tenant: str, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as somebody of this tenant would."""
    env = python_environment({"MILEPOST_URL": url, "MILEPOST_API_KEY": KEYS[tenant]})
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "milepost.cli.main", *arguments],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
        check=False,
    )


async def test_a_tenant_needs_its_key_and_finds_its_jobs_only(house: Stack) -> None:
    """By the command line, at any API, while the job runs and afterwards."""
    submitted = await milepost("acme", house.urls[0], "submit", "demo.ticker", "-p", "symbol=ACME")
    job_id = submitted.stdout.strip()
    assert submitted.returncode == 0, submitted.stderr

    for url in house.urls:
        for command in ("watch", "result", "cancel"):
            refused = await milepost("globex", url, command, job_id)
            assert (refused.returncode, refused.stdout) == (NO_SUCH_JOB, ""), (command, refused.stderr)
    assert (await milepost("acme", house.urls[1], "cancel", job_id)).returncode == 0
    watched = await milepost("acme", house.urls[1], "watch", job_id)
    assert (watched.returncode, "cancelled" in watched.stdout) == (1, True), watched.stdout
    assert (await milepost("globex", house.urls[1], "watch", job_id)).returncode == NO_SUCH_JOB


async def test_both_tenants_jobs_run_on_the_same_worker(house: Stack) -> None:
    """Nothing but the key tells them apart, colons in it or not."""
    arguments = ("submit", "demo.count", "-p", "steps=3", "--follow", "--idempotency-key", "same")
    for tenant in KEYS:
        done = await milepost(tenant, house.url, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "result: 3"
