"""Every block of the README is run, and prints what the README shows."""

import asyncio
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from milepost.tasks import REGISTRY
from tests.support.console import Stand, blocks, difference, exchanges, matches
from tests.support.ports import free_port
from tests.support.process import ROOT, Process, python_environment
from tests.support.stack import BUILTIN_TASKS, Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

README = ROOT / "README.md"
BLOCKS = blocks(README)
ADDRESS = "http://127.0.0.1:8000"
JOB_ID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
EPOCH = r"(?<=^id: )[0-9a-z]+(?=-\d+$)"
START, *CONSOLE = [block for block in BLOCKS if block.language == "console" and not block.note]
PYTHON = [block.body for block in BLOCKS if block.language == "python"]
HTML = [block.body for block in BLOCKS if block.language == "html"]


def test_no_block_is_left_out():
    """A language that nobody runs would be a promise that nobody checks."""
    ways = [(block.language, block.note) for block in BLOCKS]
    assert len(CONSOLE) >= 2
    assert len(PYTHON) == 2
    assert len(HTML) == 1
    assert sorted({*ways} - {("console", ""), ("python", ""), ("html", "")}) == [
        ("console", "not-run-here"),  # it is what runs this
        ("text", ""),  # the drawing
    ]
    assert [block.body for block in BLOCKS if block.note] == ["$ python3 dev.py test\n"]


@pytest.mark.parametrize("snippet", [*PYTHON, *HTML], ids=["task", "client", "page"])
def test_a_snippet_is_short(snippet):
    """Six lines, blank ones aside, or nobody reads it."""
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 6


def test_every_guarantee_links_to_a_test_that_is_there():
    """The link's title is the name of the test that shows it."""
    links = re.findall(r'\[test\]\((\S+) "(\w+)"\)', README.read_text())
    assert len(links) >= 4
    missing = [name for path, name in links if f"def {name}(" not in (ROOT / path).read_text()]
    assert missing == []


# --- sixty seconds -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The first block, run as it stands, on another port and with data of its own."""
    [start] = exchanges(START.body)
    folder, port = tmp_path_factory.mktemp("readme"), free_port()
    settings = {"MILEPOST_PORT": str(port), "MILEPOST_DATA_DIR": str(folder / "data")}
    # dev.py brings the environment that the newcomer has: nothing of this one's may help it.
    environment = {key: value for key, value in python_environment(settings).items() if key != "PYTHONPATH"}
    running = Process("dev.py run", start.command.split(), log=folder / "up.log", env=environment, cwd=ROOT)
    wanted = start.output.rstrip("\n").split("\n")[-1].replace(ADDRESS, f"http://127.0.0.1:{port}")
    with running:
        running.wait_until(lambda: any(matches(wanted, line) for line in running.output().splitlines()))
        yield f"http://127.0.0.1:{port}"
        assert running.stop(signal.SIGINT, deadline=90) == 130


def run(command, url, stand):
    """Run a command of the README as a shell does, with the real address and names."""
    typed = stand.fill(command).replace(ADDRESS, url)
    done = subprocess.run(
        ["sh", "-c", typed],
        env={**os.environ, "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{typed}\n{done.stderr}"
    return done.stdout


def session(url):
    """Run all console blocks one after the other; return what is other than the README shows."""
    stand = Stand(job=JOB_ID, epoch=f"(?m:{EPOCH})")
    for exchange in (one for block in CONSOLE for one in exchanges(block.body)):
        printed = run(exchange.command, url, stand)
        stand.learn(exchange.output, printed)
        if wrong := difference(stand.fill(exchange.output), printed):
            return f"$ {exchange.command}\n{wrong}"
    return ""


def test_the_sixty_seconds_print_what_the_readme_shows(house):
    """Submit, follow, come back: command by command, line by line."""
    # The job takes a second for each of its steps, and a busy machine may take that long to start the second
    # command: then a reader sees one step less. One session of five must be in time.
    told = []
    for _ in range(5):
        told.append(session(house))
        if not told[-1]:
            return
    pytest.fail("\n\n".join(dict.fromkeys(told)))


# --- the snippets --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def stack(tmp_path_factory, redis_servers):
    """The service, with a worker that offers the task of the README."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "mytasks.py").write_text(PYTHON[0])
    path = os.pathsep.join([str(folder), python_environment({})["PYTHONPATH"]])
    modules, settings = (BUILTIN_TASKS, "mytasks"), {"PYTHONPATH": path}
    async with Stack(folder, redis_servers("embedded"), modules=modules, settings=settings) as running:
        yield running


def test_the_task_is_a_function_too(tmp_path, capsys):
    """What the first snippet defines can be called as it is, and has a schema."""
    (tmp_path / "readme_task.py").write_text(PYTHON[0])
    try:
        runpy.run_path(str(tmp_path / "readme_task.py"))["resize"](["a.jpg", "b.jpg"])
        assert capsys.readouterr().out.splitlines() == ["resizing a.jpg", "resizing b.jpg"]
        assert REGISTRY["resize"].params_schema["required"] == ["pictures"]
    finally:
        REGISTRY.pop("resize", None)


async def test_the_python_client_follows_that_task(stack):
    """The last snippet, in a program of its own, sees the job of the first one through to its end."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PYTHON[1].replace(ADDRESS, stack.url),
        env=python_environment({}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    assert out.decode().splitlines()[-1] == "succeeded 100.0"


@pytest.mark.browser
async def test_the_page_shows_a_job_to_its_end(stack, chromium):
    """The snippet as the whole body of a page: the bar moves, and stands at 100 when the job has ended."""
    job = await stack.submit("demo.count", steps=5, delay_seconds=0.1)
    body = re.sub(JOB_ID, job["id"], HTML[0]).replace(ADDRESS, stack.url)
    page = await chromium.new_page()
    await page.route("**/readme.html", lambda route: route.fulfill(body=body, content_type="text/html"))
    await page.goto(f"{stack.url}/readme.html")
    bar = page.locator("milepost-progress progress")
    await bar.wait_for()
    await page.wait_for_function(
        "document.querySelector('milepost-progress').shadowRoot.querySelector('progress').value === 100"
    )
    status = await page.locator("milepost-progress [part=status]").text_content()
    assert (status or "").lower() == "succeeded"


def test_the_drawing_has_its_five_boxes():
    """Browser, API, Redis, worker, SQL."""
    [drawing] = [block.body for block in BLOCKS if block.language == "text"]
    assert all(box in drawing for box in ("browser", "API", "Redis", "worker", "SQL"))


def test_the_first_screen_comes_first():
    """What it is and how to start it stand before everything else."""
    lines = Path(README).read_text().splitlines()
    assert lines[0] == "# Milepost"
    assert "$ python3 dev.py run" in lines[:15]
