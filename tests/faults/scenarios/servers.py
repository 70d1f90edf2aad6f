"""Redis and the API: restarted, killed, frozen, flushed, robbed of what they had not yet written down."""

from __future__ import annotations

import os
import signal

from tests.faults.house import LEASE_SECONDS
from tests.faults.rounds import Round

LOAD = (0.3, 1.5)


async def redis_restart(r: Round) -> None:
    """Asked to leave, with its append-only file, and back after a while: nothing is lost, no attempt used."""
    await r.mixed(5, *LOAD, spared=True)
    await r.moment()
    await r.house.stop_redis(signal.SIGTERM)
    await r.moment(0, 1.5)
    await r.house.start_redis()


async def redis_kill(r: Round) -> None:
    """`kill -9`: what the kernel had is there again, and that is all of it."""
    await r.mixed(5, *LOAD, spared=True)
    await r.moment()
    await r.house.stop_redis(signal.SIGKILL)
    await r.moment(0, 1.0)
    await r.house.start_redis()


async def redis_power(r: Round) -> None:
    """The power fails: up to a second of acknowledged writes is gone. Every job still ends, once."""
    jobs = await r.mixed(5, *LOAD)
    if r.chance.random() < 0.5:
        await r.begun(r.chance.choice(jobs))
    await r.moment()
    _, kept = r.house.written()
    await r.moment(0, 1.0)
    await r.house.stop_redis(signal.SIGKILL)
    file, length = r.house.written()
    os.truncate(file, min(kept, length))
    r.house.lost_data()
    await r.moment(0, 0.5)
    await r.house.start_redis()


async def redis_pause(r: Round) -> None:
    """Frozen for longer than a lease: a pause of Redis costs no attempt."""
    await r.mixed(5, *LOAD, spared=True)
    await r.moment()
    r.house.pause_redis()
    await r.moment(LEASE_SECONDS + 0.5, LEASE_SECONDS * 2)
    r.house.resume_redis()


async def redis_client_pause(r: Round) -> None:
    """The same by CLIENT PAUSE, as a failover does it: connections live, commands wait."""
    await r.mixed(5, *LOAD, spared=True)
    await r.moment()
    milliseconds = round(r.chance.uniform(LEASE_SECONDS + 0.5, LEASE_SECONDS * 2) * 1000)
    with r.house.redis.client() as client:
        client.execute_command("CLIENT", "PAUSE", milliseconds, "ALL")


async def flush(r: Round) -> None:
    """FLUSHALL: what was accepted and not done runs again from its beginning, under another epoch."""
    jobs = await r.mixed(5, *LOAD)
    if r.chance.random() < 0.7:
        await r.begun(r.chance.choice(jobs))
    await r.moment()
    with r.house.redis.client() as client:
        client.flushall()
    r.house.lost_data()


async def api_kill(r: Round) -> None:
    """The API dies and comes back, with its caretaker, dispatcher and recorder: jobs do not notice."""
    await r.mixed(3, *LOAD, spared=True)
    await r.moment(0, 0.1)
    r.house.api.kill()
    await r.moment(0, 0.5)
    await r.house.restart_api()
    await r.mixed(2, *LOAD, spared=True)


SCENARIOS = (redis_restart, redis_kill, redis_power, redis_pause, redis_client_pause, flush, api_kill)
