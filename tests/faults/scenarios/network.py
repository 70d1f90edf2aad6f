"""A reply that is lost after the command has happened: nobody knows whether it did."""

from __future__ import annotations

from milepost.log import SCRIPTS
from tests.faults.rounds import Round


async def _eats(r: Round, script: str) -> None:
    """The next reply to one script is eaten, somewhere between submission and end."""
    proxy = r.house.proxy
    before = proxy.eaten
    wired = {"queue": "wired"}
    allowed = {"succeeded", "cancelled"} if script == "cancel" else {"succeeded"}
    if script != "create":
        await r.mixed(1, 0.5, 1.0, options=wired, allowed=allowed, spared=True)
        await r.moment()
    proxy.eat_reply_to(SCRIPTS[script].of(await r.generation()).sha.encode())
    jobs = await r.mixed(3, 0.5, 1.0, options=wired, allowed=allowed, spared=True)
    if script == "cancel":
        await r.cancel(jobs[0])
    await r.until(lambda: proxy.eaten > before, f"a reply to {script} is eaten")


async def reply_to_create(r: Round) -> None:
    """The API does not know whether its job has reached Redis (arq answers None for "maybe")."""
    await _eats(r, "create")


async def reply_to_take(r: Round) -> None:
    """The worker has begun attempts and has not heard which."""
    await _eats(r, "take")


async def reply_to_report(r: Round) -> None:
    """Events have happened, perhaps the end, and the worker says them again."""
    await _eats(r, "report")


async def reply_to_renew(r: Round) -> None:
    """A heartbeat was heard, and its worker does not know."""
    await _eats(r, "renew")


async def reply_to_cancel(r: Round) -> None:
    """The job is cancelled or asked to stop, and who wanted it asks again."""
    await _eats(r, "cancel")


async def connections_cut(r: Round) -> None:
    """Every connection through the proxy is reset, again and again."""
    await r.mixed(4, 0.5, 1.5, options={"queue": "wired"}, spared=True)
    for _ in range(r.chance.randint(1, 4)):
        await r.moment(0.05, 0.5)
        r.house.proxy.drop_all()


SCENARIOS = (
    reply_to_create,
    reply_to_take,
    reply_to_report,
    reply_to_renew,
    reply_to_cancel,
    connections_cut,
)
