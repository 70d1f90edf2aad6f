"""Tokens, refusals and other origins, in Chromium: what is for good is told at once, what passes is outlasted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from milepost.ids import new_job_id
from tests.support.jobs import PlayedJob
from tests.support.middlebox import Middlebox
from tests.support.page_client import ClientTab, ends_right, open_tab, profile, report
from tests.support.ports import free_port
from tests.support.stage import Stage, staged
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

KEY = "key-of-default-0123456789abcdef"
NOT_AVAILABLE = "Not available"


@pytest.fixture(scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """An API with a key, whose tokens end on the second, and which pages of one other origin may use."""
    app = f"http://127.0.0.1:{APP_PORT}"
    given = {"api_keys": KEY, "token_grace_seconds": 0, "cors_origins": app}
    async with staged(tmp_path_factory.mktemp("locked"), **given) as running:
        running.api.http.headers["Authorization"] = f"Bearer {KEY}"
        yield running


APP_PORT = free_port()


@pytest.fixture
async def door(locked: Stage) -> AsyncIterator[Middlebox]:
    async with locked.box() as between:
        yield between


async def token(stage: Stage, *jobs: PlayedJob, seconds: int = 900) -> str:
    asked = {"jobs": [job.id for job in jobs], "ttl_seconds": seconds}
    reply = await stage.api.http.post("/v1/stream-tokens", json=asked)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["token"])


async def refused(tab: ClientTab, job_id: str) -> dict[str, Any]:
    """Wait until the client was refused and the bar says so; return the error."""

    async def thrown() -> bool:
        return bool((await tab.told(job_id))["error"])

    await eventually(thrown, "the client is refused")

    async def shown() -> bool:
        return (await tab.bar(job_id))[0] == NOT_AVAILABLE

    await eventually(shown, "the bar says that it is not available")
    error: dict[str, Any] = (await tab.told(job_id))["error"]
    return error


async def test_a_token_that_ends_in_midstream_is_renewed(
    locked: Stage, door: Middlebox, browser: Browser
) -> None:
    """The server asks to come back; `getToken` is called again, and the stream goes on after its last event."""
    job = await locked.job()
    brief, lasting = await token(locked, job, seconds=3), await token(locked, job)
    async with profile(browser) as context:
        tab = await open_tab(context, door, tokens=[brief, lasting])
        await tab.follow(job.id)
        await tab.until_told(job.id)
        await locked.says(job, "with", "the first")
        await eventually(lambda: len(door.streams) == 2, "it comes back")
        await tab.until_seq(job.id, await locked.says(job, "with", "the second"))
        assert await tab.evaluate("given") == 2
        assert door.streams[-1].cursor
        await ends_right(locked, job, tab)
        report("a token renewed", door, 4)


async def test_a_token_that_has_ended_is_renewed_before_the_first_event(
    locked: Stage, door: Middlebox, browser: Browser
) -> None:
    """The first answer is 401: one more token, one more request, and nobody sees anything of it."""
    job = await locked.job()
    async with profile(browser) as context:
        tab = await open_tab(context, door, tokens=["nonsense", await token(locked, job)])
        await tab.follow(job.id)
        await tab.until_told(job.id)
        await ends_right(locked, job, tab)
        assert "refused" not in (await tab.told(job.id))["connections"]
        report("a token that was no longer good", door, 3)


async def test_a_token_that_is_refused_ends_it(locked: Stage, door: Middlebox, browser: Browser) -> None:
    """A new one was asked for once and is no better: the page is told, the bar says so, nobody knocks again."""
    job = await locked.job()
    async with profile(browser) as context:
        tab = await open_tab(context, door, tokens=["nonsense"])
        await tab.follow(job.id)
        assert (await refused(tab, job.id))["status"] == 401
        assert await tab.evaluate("given") == 2
        report("a token refused", door, 2)


async def test_a_token_for_another_job_ends_it(locked: Stage, door: Middlebox, browser: Browser) -> None:
    """What a token does not name is not there; the job that it names goes on beside it."""
    mine, other = await locked.job(), await locked.job()
    async with profile(browser) as context:
        tab = await open_tab(context, door, token=await token(locked, mine))
        await tab.follow(mine.id, other.id)
        assert (await refused(tab, other.id))["status"] in (403, 404)
        await ends_right(locked, mine, tab)
        report("a token for another job", door, 8)


async def test_tabs_with_other_tokens_share_nothing(locked: Stage, door: Middlebox, browser: Browser) -> None:
    """Who may read one job hears nothing of another, though it is followed in the tab beside."""
    mine, other = await locked.job(), await locked.job()
    async with profile(browser) as context:
        first = await open_tab(context, door, token=await token(locked, mine))
        second = await open_tab(context, door, token=await token(locked, other))
        for tab, job in ((first, mine), (second, other)):
            await tab.follow(job.id)
            await tab.until_connection(job.id, "live")
        assert locked.open_streams == 2
        await first.follow(other.id)
        assert (await refused(first, other.id))["status"] in (403, 404)
        for tab, job in ((first, mine), (second, other)):
            await ends_right(locked, job, tab)
        report("two tabs, two tokens", door, 10)


async def test_a_job_that_does_not_exist_is_not_asked_for_again(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """404 is for good, after a second look at most; the job beside it lives."""
    job, missing = await stage.job(), new_job_id()
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        await tab.follow(missing)
        assert (await refused(tab, missing))["status"] == 404
        report("a job that is not there", box, 2)
        await tab.follow(job.id, f"{missing[:-1]}0")
        assert (await refused(tab, f"{missing[:-1]}0"))["status"] == 404
        await ends_right(stage, job, tab)
        report("and beside one that is", box, 8)


async def test_too_many_requests_is_waited_for(stage: Stage, box: Middlebox, browser: Browser) -> None:
    """429 passes."""
    job = await stage.job()
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        box.answers(429)
        await tab.follow(job.id)
        await eventually(lambda: len(box.asked) >= 2, "it has asked again")
        box.passes()
        await tab.until_told(job.id)
        await ends_right(stage, job, tab)
        report("429", box, 6)


async def test_a_page_of_another_origin_outlasts_the_same(
    locked: Stage, door: Middlebox, browser: Browser
) -> None:
    """With a token across origins: a proxy that refuses without a word for CORS, a cut, the end; then it is over."""
    job = await locked.job()
    async with Middlebox(door.url, port=APP_PORT) as app, profile(browser) as context:
        tab = await open_tab(context, app, base=door.url, token=await token(locked, job))
        assert not await tab.evaluate("(url) => location.origin === new URL(url).origin", door.url)
        await tab.follow(job.id)
        await tab.until_connection(job.id, "live")
        door.answers(503)
        door.cuts()
        await locked.says(job, "during", "the deploy")
        await eventually(lambda: sum(one.status == 503 for one in door.asked) >= 2, "it was refused twice")
        door.passes()
        await tab.until_seq(job.id, await locked.last(job))
        door.cuts()
        await tab.until_seq(job.id, await locked.says(job, "after", "a cut"))
        await ends_right(locked, job, tab)
        await eventually(lambda: locked.open_streams == 0, "no stream is left")
        preflights = sum(one.method == "OPTIONS" for one in door.asked)
        print(f"of these are preflights: {preflights}")
        report("from another origin", door, 16)
        assert not app.asked
