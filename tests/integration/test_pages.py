"""The files of the page and of the elements: kept for ever by version, closed to all else, loadable by every origin."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from milepost_api.app import create_app
from milepost_api.pages import Pages, Site, pages
from milepost_api.pages.modules import needed
from milepost_api.pages.site import names
from milepost_api.settings import ApiSettings
from pydantic import SecretStr

pytestmark = pytest.mark.anyio
FILES = {
    "index.html": '<head><script src="recover.js"></script><link rel="stylesheet" href="page.css">\n'
    '<script type="module" src="page.js"></script></head><a href="docs">API</a><a href="#page.js">x</a>',
    "recover.js": "// helps",
    "page.js": 'import "./src/define-list.js"\nimport { card } from "./page/card.js"\n',
    "page.css": "body { margin: 0 }\n" * 20,
    "page/card.js": 'import {\n  fold,\n} from "../src/fold.js"\n/** @type {import("../late.js").X} */\n',
    "late.js": "export {}",
    "src/index.js": 'export { fold } from "./fold.js"\nexport {\n  one, two\n} from "./fold.js"',
    "src/define-list.js": 'import "./fold.js"\nexport { Bar }\nconst later = () => import("../late.js")',
    "src/fold.js": "export const fold = 1",
    "src/hub.js": 'import "./fold.js"\nimport "./line.js"',
    "src/line.js": "export {}",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    write(tmp_path / "site", FILES)
    async with browsing(app_of(tmp_path)) as client:
        yield client


def app_of(folder: Path, *, keys: str = "") -> FastAPI:
    app = create_app(ApiSettings(data_dir=folder, api_keys=SecretStr(keys)))
    app.router.default = Pages(folder / "site")
    return app


def browsing(app: FastAPI, root_path: str = "") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, root_path=root_path)
    return httpx2.AsyncClient(transport=transport, base_url="http://t")


async def version(site: httpx2.AsyncClient) -> str:
    """Return the folder of the version that the page names: `assets/HASH`."""
    found = re.search(r'src="(assets/[0-9a-f]{16})/page\.js"', (await site.get("/")).text)
    assert found
    return found[1]


async def test_the_page_names_the_files_of_its_version(site: httpx2.AsyncClient) -> None:
    """Relative, so that any prefix will do; links and what helps when a version is gone keep their addresses."""
    page = (await site.get("/")).text
    folder = await version(site)
    assert f'href="{folder}/page.css"' in page
    assert '<script src="recover.js">' in page
    assert '<a href="docs">' in page
    assert '<a href="#page.js">' in page


async def test_the_page_names_all_modules_at_once(site: httpx2.AsyncClient) -> None:
    """A browser asks for them side by side, not for each when it has read the one before.

    Also for what is loaded at the first watch, which here is at once; not for what else wants to be late.
    """
    hints = re.findall(r'rel="modulepreload" href="assets/\w+/([^"]+)"', (await site.get("/")).text)
    assert hints == ["src/fold.js", "src/define-list.js", "page/card.js", "src/line.js", "src/hub.js"]


async def test_files_of_a_version_are_kept_for_ever(site: httpx2.AsyncClient) -> None:
    """They are never asked for again; the page and addresses without a version are, each time."""
    folder = await version(site)
    for name in ("page.js", "page.css", "src/fold.js"):
        kept, asked = await site.get(f"/{folder}/{name}"), await site.get(f"/{name}")
        assert kept.text == asked.text == FILES[name]
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asked.headers["cache-control"] == "no-cache"
    for address in ("/", "/index.html", "/milepost.js", "/recover.js"):
        assert (await site.get(address)).headers["cache-control"] == "no-cache"


async def test_a_version_that_is_gone_is_not_found_and_not_remembered(site: httpx2.AsyncClient) -> None:
    """A 404 that a cache kept would outlive the deploy that caused it."""
    gone = await site.get("/assets/0123456789abcdef/page.js")
    assert gone.status_code == 404
    assert gone.headers["cache-control"] == "no-store"


async def test_a_page_is_not_a_file_of_a_version(site: httpx2.AsyncClient) -> None:
    """A page that is kept for ever would name its old version for ever."""
    assert (await site.get(f"/{await version(site)}/index.html")).status_code == 404


async def test_who_works_on_the_files_sees_them_when_the_page_is_loaded_again(
    site: httpx2.AsyncClient, tmp_path: Path
) -> None:
    """Another content is another version, without a restart."""
    before = await version(site)
    write(tmp_path / "site", {"src/fold.js": "export const fold = 2"})
    os.utime(tmp_path / "site/src/fold.js", (2_000_000_000, 2_000_000_000))

    after = await version(site)

    assert after != before
    assert (await site.get(f"/{after}/src/fold.js")).text == "export const fold = 2"
    assert (await site.get(f"/{before}/src/fold.js")).status_code == 404


async def test_a_file_that_is_being_saved_is_served_as_it_was(
    site: httpx2.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Editors take the old one away before the new one is there; what leads nowhere is no file."""
    before = await version(site)
    (tmp_path / "site/lost.js").symlink_to("nowhere")
    with monkeypatch.context() as saving:
        saving.setattr(pages, "names", lambda folder: iter([*names(folder), "src/going.js"]))
        assert await version(site) == before
    write(tmp_path / "site", {"src/going.js": "export {}"})
    assert await version(site) != before


def test_a_version_is_what_is_in_the_files_and_nothing_else() -> None:
    """All processes of one release agree, wherever and whenever they were installed."""
    files = {name: text.encode() for name, text in FILES.items()}
    assert Site(files).version == Site(dict(reversed(files.items()))).version
    assert Site({**files, "page.js": b""}).version != Site(files).version
    page = {"index.html": b""}
    assert Site({**page, "a.js": b"b.js"}).version != Site({**page, "a.js": b"", "b.js": b""}).version


def test_modules_come_after_what_they_need() -> None:
    """A circle ends, and what is not there is left to the browser to report."""
    files = {"a.js": b'import "./b.js"\nimport "./none.js"', "b.js": b'export * from "./a.js"'}
    assert needed(files, "a.js") == ["b.js", "a.js"]


@pytest.mark.parametrize(
    ("accepted", "smaller"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, *;q=0.5", True),
        ("gzip;q=0", False),
        ("", False),
        ("br", False),
    ],
)
async def test_files_are_sent_compressed_to_those_who_take_that(
    site: httpx2.AsyncClient, accepted: str, smaller: bool
) -> None:
    """Both with a tag of their own, and caches are told that there are two."""
    request = site.build_request("GET", "/page.css", headers={"accept-encoding": accepted})
    answer = await site.send(request, stream=True)
    raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (answer.headers.get("content-encoding") == "gzip") is smaller
    assert (gzip.decompress(raw) if smaller else raw).decode() == FILES["page.css"]
    assert int(answer.headers["content-length"]) == len(raw)
    assert answer.headers["etag"].endswith('-gzip"') is smaller


async def test_what_a_browser_has_is_not_sent_again(site: httpx2.AsyncClient) -> None:
    """One of several tags, a tag that a proxy has weakened, and a star; not another one."""
    answer = await site.get("/page.css", headers={"accept-encoding": "gzip"})
    tag = answer.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await site.get("/page.css", headers={"if-none-match": given})
        assert (again.status_code, again.content) == (304, b""), given
        assert {"etag", "cache-control", "vary"} <= again.headers.keys()
    assert (await site.get("/page.css", headers={"if-none-match": '"other"'})).status_code == 200


async def test_a_head_is_the_answer_without_its_body(site: httpx2.AsyncClient) -> None:
    """Same status, same headers."""
    for address in ("/", "/page.css"):
        whole, head = await site.get(address), await site.head(address)
        assert head.content == b""
        assert {**head.headers, "x-request-id": ""} == {**whole.headers, "x-request-id": ""}


async def test_one_script_gives_other_sites_all_there_is(site: httpx2.AsyncClient) -> None:
    """It names all modules, and exports what the client and the elements export: nothing is loaded twice."""
    script = (await site.get("/milepost.js")).text
    assert '["src/fold.js", "src/index.js", "src/define-list.js", "src/line.js", "src/hub.js"]' in script
    assert f'load("./{await version(site)}/")' in script
    assert "export const { fold, one, two, Bar } =" in script


async def test_nothing_but_the_page_may_be_opened_by_other_sites(site: httpx2.AsyncClient) -> None:
    """The page stands alone; the elements are for everybody, whatever the other page demands of what it embeds."""
    page, script = await site.get("/"), await site.get("/milepost.js")
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert page.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in page.headers
    assert "camera=()" in page.headers["permissions-policy"]
    assert script.headers["cross-origin-resource-policy"] == "cross-origin"
    assert script.headers["access-control-allow-origin"] == "*"


async def test_the_policy_allows_nothing_inline_and_no_strings_as_markup(site: httpx2.AsyncClient) -> None:
    """Also where a page is shown in a frame: nowhere."""
    policy = (await site.get("/")).headers["content-security-policy"]
    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert directives["default-src"] == directives["base-uri"] == directives["frame-ancestors"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert directives["require-trusted-types-for"] == "'script'"
    assert directives["trusted-types"] == "'none'"
    assert "unsafe" not in policy


async def test_keys_do_not_close_the_page_and_the_elements_and_close_everything_else(tmp_path: Path) -> None:
    """Neither an address bar nor a tag can send a key; the page asks for one, and its files say nothing of any job."""
    write(tmp_path / "site", FILES)
    app = app_of(tmp_path, keys="a-key-that-is-long-enough")
    async with browsing(app) as client:
        folder = re.findall(r"assets/\w+/", (await client.get("/milepost.js")).text)[0]
        for address in ("/", "/index.html", "/page.js", "/recover.js", f"/{folder}page.js"):
            assert (await client.get(address)).status_code == 200, address
        for address in ("/milepost.js", f"/{folder}src/define-list.js", "/src/define-list.js"):
            assert (await client.get(address)).status_code == 200, address
        for address in ("/assets", "/docs", "/src", "/openapi.json", "/v1/jobs/x.js", "/v1/tasks.html"):
            assert (await client.get(address)).status_code == 401, address
        for address in (f"/{folder}../../v1/jobs", "/assets/%2e%2e/v1/jobs", "/src//v1/jobs"):
            assert (await client.get(address)).status_code in (401, 404), address
        for address in ("/", "/milepost.js"):
            assert (await client.post(address)).status_code == 401


@pytest.mark.parametrize("keys", ["", "one:first-key"])
async def test_a_prefix_without_its_slash_is_sent_to_the_page(tmp_path: Path, keys: str) -> None:
    """Relative addresses would be looked for beside the prefix; like the page, it is there for everybody."""
    write(tmp_path / "site", FILES)
    async with browsing(app_of(tmp_path, keys=keys), root_path="/milepost") as client:
        bare = await client.get("/milepost?job=1")
        assert (bare.status_code, bare.headers["location"]) == (307, "/milepost/?job=1")
        folder = await version_below(client, "/milepost/")
        assert (await client.get(f"/milepost/{folder}/page.js")).text == FILES["page.js"]


async def version_below(client: httpx2.AsyncClient, prefix: str) -> str:
    found = re.search(r'src="(assets/\w+)/page\.js"', (await client.get(prefix)).text)
    assert found
    return found[1]


async def test_what_is_installed_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody works on it, and a page asks for dozens of files at once."""
    write(tmp_path / "site", FILES)
    monkeypatch.setattr("milepost_api.pages.pages._INSTALLED", tmp_path / "site")
    async with browsing(app_of(tmp_path)) as client:
        folder = await version(client)
        (tmp_path / "site/src/fold.js").unlink()
        assert await version(client) == folder
        assert (await client.get(f"/{folder}/src/fold.js")).text == FILES["src/fold.js"]
