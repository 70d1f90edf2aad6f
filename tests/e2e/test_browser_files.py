"""The files of the page in a real Chromium: kept by version, there again after a deploy, loaded by other sites."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.support.page import tab
from tests.support.ports import free_port
from tests.support.redis import RedisServer
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Request, Route

pytestmark = [pytest.mark.anyio, pytest.mark.browser]
MISSING = r"Failed to load resource.* 404"
# What a page allows that allows nothing but Milepost.
STRICT = (
    "default-src 'none'; script-src API; connect-src API; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


class Shop:
    """A site of another origin. What it shows is `body`; it allows Milepost and nothing else."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.api, self.body = "", ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        headers = f"Content-Security-Policy: {STRICT.replace('API', self.api)}\r\nContent-Type: text/html\r\n"
        headers += "Cross-Origin-Embedder-Policy: require-corp\r\nConnection: close\r\n"
        writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n{self.body}".encode())
        await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[Shop]:
    site = Shop()
    server = await asyncio.start_server(site.answer, "127.0.0.1", int(site.url.rpartition(":")[2]))
    yield site
    server.close()


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("files")
    with RedisServer(folder / "redis") as redis:
        async with Stack(folder, redis, settings={"MILEPOST_CORS_ORIGINS": shop.url}) as running:
            shop.api = running.url
            yield running


def requests_of(page: Page) -> list[Request]:
    """Return what the page asks for from now on; the list grows."""
    asked: list[Request] = []

    def note(request: Request) -> None:
        asked.append(request)

    page.on("request", note)
    return asked


def names(requests: list[Request]) -> list[str]:
    """Return the files of a version that were asked for, without their version."""
    return [found[1] for one in requests if (found := re.search(r"/assets/\w+/(.+)", one.url))]


async def test_all_files_of_the_page_come_by_version_and_once(api: Stack, browser: Browser) -> None:
    """Whoever comes back asks for the page, and for nothing that it has. The policy refuses nothing."""
    async with tab(browser) as page:
        asked = requests_of(page.page)
        await page.goto(api.url)
        first = names(asked)
        assert "page.js" in first
        assert sorted(set(first)) == sorted(first)  # what was preloaded is what is run
        plain = [one.url.removeprefix(api.url) for one in asked if re.search(r"\.(js|css|svg)$", one.url)]
        assert [name for name in plain if not name.startswith("/assets/")] == ["/recover.js"]

        again = await browser_cached(page.page, api)
        assert sorted(set(again)) == sorted(set(first) & set(again))
        assert {"page.js", "page.css"} <= set(again)


async def browser_cached(page: Page, api: Stack) -> list[str]:
    """Come back to the page; return the files that the browser had, and fail if it asked the server for any."""
    sizes = "performance.getEntriesByType('resource').map(({ name, transferSize }) => [name, transferSize])"
    await page.goto("about:blank")
    await page.goto(api.url)
    await page.locator("#workers[data-there]").wait_for()
    told = [(name, size) for name, size in await page.evaluate(sizes) if "/assets/" in name]
    assert [name for name, size in told if size != 0] == []
    return [name.split("/assets/")[1].partition("/")[2] for name, _ in told]


@pytest.mark.parametrize("lost", ["page.js", "src/fold.js", "page.css"])
async def test_a_page_that_meets_an_older_server_comes_back(api: Stack, browser: Browser, lost: str) -> None:
    """In the middle of a deploy its files are not there, twice: it loads itself again until they are."""
    loads = 0

    def count(request: Request) -> None:
        nonlocal loads
        loads += request.is_navigation_request()

    async def older(route: Route) -> None:
        if loads > 2:
            await route.continue_()
        else:  # the real answer to a version that this server does not have
            await route.continue_(url=re.sub(r"/assets/\w+/", "/assets/0123456789abcdef/", route.request.url))

    async with tab(browser) as page:
        page.expect_complaint(MISSING)
        page.page.on("request", count)
        await page.page.route(f"**/assets/*/{lost}", older)
        await page.page.goto(api.url)
        await eventually(lambda: loads == 3, "the page has been loaded again, twice")
        await page.ready()
        left = "sessionStorage.getItem('milepost.loads')"
        assert await page.page.evaluate(left) is None


async def test_a_page_whose_files_stay_away_says_so(api: Stack, browser: Browser) -> None:
    """It does not load itself for ever."""
    async with tab(browser) as page:
        page.expect_complaint(MISSING)
        await page.page.add_init_script("sessionStorage.setItem('milepost.loads', '8')")
        await page.page.route("**/assets/*/src/fold.js", lambda route: route.fulfill(status=404))
        await page.page.goto(api.url)
        notice = page.page.get_by_role("alert").filter(has_text="could not be loaded")
        await notice.wait_for()


def drop_in(api: Stack, job_id: str) -> str:
    return (
        f'<!doctype html><script type="module" src="{api.url}/milepost.js"></script>'
        f'<milepost-progress job="{job_id}">Working</milepost-progress>'
    )


async def until_full(page: Page) -> None:
    # Not `wait_for_function`, which the policy refuses.
    value = "document.querySelector('milepost-progress').shadowRoot?.querySelector('progress').value"

    async def full() -> bool:
        return bool(await page.evaluate(value) == 100)

    await eventually(full, "the bar is full")


async def test_a_tag_on_a_page_of_another_origin_shows_a_job_of_the_api(
    api: Stack, shop: Shop, browser: Browser
) -> None:
    """One script, from the API, which knows where it came from; all its modules side by side, kept by version."""
    job = await api.submit("demo.count", steps=3, delay_seconds=0.1)
    async with tab(browser) as page:
        asked = requests_of(page.page)
        shop.body = drop_in(api, job["id"])
        await page.page.goto(shop.url)
        await until_full(page.page)
        assert {"src/define-list.js", "src/client.js", "src/hub.js", "src/drawing.js"} <= set(names(asked))
        assert not [one.url for one in asked if "/src/" in one.url and "/assets/" not in one.url]
        client = await page.page.evaluate(
            f"import('{api.url}/milepost.js').then((all) => all.sharedClient().base.href)"
        )
        assert client == f"{api.url}/"


async def test_the_tag_works_in_the_middle_of_a_deploy(api: Stack, shop: Shop, browser: Browser) -> None:
    """The script came from the new version and its modules are asked of the old one."""
    job = await api.submit("demo.count", steps=3, delay_seconds=0.1)
    async with tab(browser) as page:
        page.expect_complaint(MISSING)

        async def older(route: Route) -> None:
            await route.continue_(url=re.sub(r"/assets/\w+/", "/assets/0123456789abcdef/", route.request.url))

        await page.page.route("**/assets/**", older)
        shop.body = drop_in(api, job["id"])
        await page.page.goto(shop.url)
        await until_full(page.page)


async def test_the_page_works_below_a_prefix(api: Stack, browser: Browser) -> None:
    """A proxy that puts Milepost at /jobs/ needs to know nothing of its files."""

    async def stripped(route: Route) -> None:
        await route.continue_(url=route.request.url.replace("/below/", "/"))

    async with tab(browser) as page:
        await page.page.route("**/below/**", stripped)
        await page.goto(f"{api.url}/below/")
        asked = await page.page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
        assert len(asked) > 20
        assert [one for one in asked if "/below/" not in one] == []
