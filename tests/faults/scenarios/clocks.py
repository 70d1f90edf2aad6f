"""One host's clock is five seconds off. Whatever is a matter of time is measured by Redis's clock."""

from __future__ import annotations

from typing import Any

from milepost.client import AsyncClient
from tests.faults.house import skew
from tests.faults.rounds import Round

OFF_SECONDS = 5.0


async def _load(r: Round, client: AsyncClient | None = None, **options: Any) -> None:
    """Work, retries and delays."""
    for _ in range(2):
        given: dict[str, Any] = {"client": client, "options": options}
        await r.submit(seconds=0.4, spared=True, **given)
        await r.submit("f.again", after=round(r.chance.uniform(0.2, 0.8), 2), times=1, **given)
        delay = {"delay_seconds": round(r.chance.uniform(0.2, 1.0), 2)}
        await r.submit(seconds=0.2, spared=True, client=client, options=options | delay)


async def worker_clock(r: Round) -> None:
    """A worker whose clock is ahead, or behind."""
    worker = r.house.hire(queues="skewed", **skew(r.chance.choice([OFF_SECONDS, -OFF_SECONDS])))
    await r.house.there(worker)
    await _load(r, queue="skewed")
    await r.moment()
    await r.ended()
    await r.house.let_go(worker)


async def api_clock(r: Round) -> None:
    """An API whose clock is ahead accepts, dispatches and takes care, alone or beside one that is right.

    A job that it accepts with a start timeout is begun in time, and does not expire by the other one's clock.
    """
    sleeper = r.house.hire(queues="late")
    api, url = await r.house.add_skewed_api(OFF_SECONDS)
    await r.house.there(sleeper)
    async with r.house.client(url) as skewed:
        patience = {"start_timeout_seconds": round(r.chance.uniform(3.5, 4.5), 2)}
        await _load(r, skewed)
        await r.submit(seconds=0.3, client=skewed, spared=True, options=patience)
        await r.submit(seconds=0.3, spared=True, options=patience)
        # This one has to wait for its worker, for less time than the clock is wrong by.
        r.house.freeze(sleeper)
        late = patience | {"queue": "late"}
        await r.submit(seconds=0.1, spared=True, options=late, client=r.chance.choice([skewed, None]))
        await r.moment(1.0, 2.0)
        r.house.thaw(sleeper)
        if r.chance.random() < 0.5:
            worker = r.chance.choice([one for one in r.house.crew if one is not sleeper])
            await r.house.kill(worker)
        await r.ended()
    await r.house.let_go(sleeper)
    await r.house.drop_api(api)


SCENARIOS = (worker_clock, api_clock)
