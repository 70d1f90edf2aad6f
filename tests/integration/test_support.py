"""The tests' own tools do what they say."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from milepost.redis import connect
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.process import ROOT, Process, python_environment
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.sse import open_stream
from tests.support.stack import Stack
from tests.support.wait import eventually, eventually_sync

pytestmark = pytest.mark.anyio

PIECES = (b'data: {"type":"a"}\n\nd', b"ata: {", b'"type":"end"}\n\n', b"")
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
REPLY += b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in PIECES)


async def serve_reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request with `REPLY`, byte for byte."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # some tests hang up at once
        await reader.readuntil(b"\r\n\r\n")
        writer.write(REPLY)
        await writer.drain()
    writer.close()


@pytest.fixture
async def target() -> AsyncIterator[str]:
    """Serve `REPLY` on a free port."""
    async with await asyncio.start_server(serve_reply, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"


async def test_a_killed_server_with_an_append_only_file_comes_back_with_its_data(
    redis_server: RedisServer, redis: Redis
) -> None:
    """What was acknowledged is there after kill -9, on the same port."""
    await redis.set("here", "still")
    redis_server.restart(signal.SIGKILL)
    assert await redis.get("here") == b"still"


async def test_every_test_begins_with_an_empty_redis(redis: Redis) -> None:
    """What another test left is gone, and a server that it stopped runs again."""
    assert await redis.dbsize() == 0


async def test_a_server_without_an_append_only_file_forgets_what_it_has_not_saved(tmp_path: Path) -> None:
    """That is how a test loses the tail of a history."""
    with RedisServer(tmp_path / "redis", appendonly=False) as server, server.client() as client:
        client.set("saved", 1)
        client.save()
        client.set("unsaved", 1)
        server.restart(signal.SIGKILL)
        assert client.keys() == [b"saved"]


async def test_every_test_has_a_database_of_its_own(postgres_url: str) -> None:
    """It is empty, speaks UTF-8 and runs nothing as root."""
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 2200") == 0
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
    finally:
        await connection.close()


async def test_the_raw_reader_sees_a_clean_end(target: str) -> None:
    """Chunks that fall inside a frame do not matter, and the last one is noticed."""
    async with open_stream(target) as stream:
        assert [event["type"] for event in await stream.rest()] == ["a", "end"]
        assert stream.ended_clean is True
        assert bytes(stream.body) == b'data: {"type":"a"}\n\ndata: {"type":"end"}\n\n'


async def test_the_proxy_cuts_at_every_byte_it_is_told_to(target: str) -> None:
    """The reader gets exactly that many bytes, and knows that the body did not end."""
    head = REPLY.index(b"\r\n\r\n") + 4
    async with TcpProxy(target) as proxy:
        for cut in range(head, len(REPLY)):
            proxy.cut_next_after(cut)
            async with open_stream(proxy.url) as stream:
                await stream.rest()
                assert stream.ended_clean is False
        async with open_stream(proxy.url) as stream:
            await stream.rest()
        assert stream.ended_clean is True
        assert proxy.reply_bytes == sum(range(head, len(REPLY))) + len(REPLY)
        assert proxy.connections == len(REPLY) - head + 1


async def test_the_proxy_drops_refuses_and_swallows(target: str) -> None:
    """Open connections are reset, new ones refused, and held-back bytes arrive in the end."""
    async with TcpProxy(target) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await eventually(lambda: proxy.open_connections == 1, "the proxy has the connection")
        proxy.blackhole()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1)
        proxy.restore()
        assert await reader.readexactly(8) == b"HTTP/1.1"
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await eventually(lambda: proxy.connections == 2, "the proxy has the second connection")
        proxy.drop_all()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.accept()
        async with open_stream(proxy.url) as stream:
            assert len(await stream.rest()) == 2


async def test_the_proxy_goes_past_a_target_that_refuses(target: str) -> None:
    """As a load balancer does: in turn, and to those that are left."""
    dead = ("127.0.0.1", free_port())
    async with TcpProxy(target, dead) as proxy:
        for _ in range(3):
            async with open_stream(proxy.url) as stream:
                assert len(await stream.rest()) == 2
    async with TcpProxy(dead) as proxy:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            async with open_stream(f"http://127.0.0.1:{proxy.port}/"):
                pass


@pytest.mark.slow
async def test_a_postgresql_is_killed_and_frozen_and_keeps_what_was_committed(tmp_path: Path) -> None:
    """And says nothing while it is frozen."""
    with PostgresServer(tmp_path, survives_kill=True) as server:
        before = await asyncpg.connect(server.url)
        await before.execute("CREATE TABLE kept AS SELECT 1 AS one")
        await asyncio.to_thread(server.kill)
        with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
            await before.fetch("SELECT one FROM kept")
        server.start()
        after = await asyncpg.connect(server.url)
        assert await after.fetchval("SELECT one FROM kept") == 1
        server.pause()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncpg.connect(server.url, timeout=30)
        server.resume()
        assert await after.fetchval("SELECT one FROM kept") == 1
        await after.close()


def test_children_do_not_outlive_the_tests(tmp_path: Path) -> None:
    """On Linux kill -9 on the test process takes what it started with it; elsewhere the reaper must."""
    if sys.platform != "linux":
        return
    script = (
        "import sys, pathlib, time; from tests.support.process import Process;"
        "p = Process('sleep', ['sleep', '600'], log=pathlib.Path(sys.argv[1])).start();"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "log")]
    parent = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def gone() -> bool:
        stat = Path(f"/proc/{child}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    eventually_sync(gone, "the child is gone", ignoring=(FileNotFoundError, ProcessLookupError))


async def test_a_proxy_eats_one_reply_and_cuts_that_connection(redis_server: RedisServer) -> None:
    """What was asked for has happened, the answer never comes, and other requests are answered."""
    async with (
        TcpProxy(redis_server.url) as proxy,
        connect(proxy.url, retries=0) as through,
        connect(redis_server.url) as direct,
    ):
        proxy.eat_reply_to(b"eaten")
        assert await through.set("other", "1")
        with pytest.raises(RedisConnectionError):
            await through.set("eaten", "1")
        assert await direct.get("eaten") == b"1"
        assert proxy.eaten == 1
        assert await through.set("eaten", "2")


async def test_a_process_that_leaves_too_early_is_reported_with_its_output(tmp_path: Path) -> None:
    """Nobody waits for the deadline when a server could not even start."""
    process = Process("loud", ["sh", "-c", "echo no such luck; exit 3"], log=tmp_path / "log").start()
    with pytest.raises(RuntimeError, match=r"loud left with 3; it said:\nno such luck"):
        process.wait_until(lambda: False)


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", ["1 passed", "2 skipped"]), ("1", ["1 error", "1 failed", "1 passed"])]
)
def test_a_skip_is_a_failure_in_ci(tmp_path: Path, ci: str, outcome: list[str]) -> None:
    """What is not run there is not known to work; elsewhere a developer may leave something out."""
    hooks = "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport\n"
    (tmp_path / "conftest.py").write_text(hooks)
    skip = "import pytest\npytest.skip('no', allow_module_level=True)\n"
    (tmp_path / "test_file.py").write_text(skip)
    skip = "import pytest\ndef test_a(): pytest.skip('no')\ndef test_b(): pass\n"
    (tmp_path / "test_some.py").write_text(skip)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "/dev/null",
        "--continue-on-collection-errors",
        str(tmp_path),
    ]
    environment = {**python_environment({}), "CI": ci}
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    summary = done.stdout.splitlines()[-1].strip("= ").partition(" in ")[0]
    assert sorted(summary.split(", ")) == outcome, done.stdout
    assert ("Skipped in CI" in done.stdout) == bool(ci)
    assert done.returncode == (1 if ci else 0)


async def test_free_ports_differ() -> None:
    """Two servers that are started together do not meet."""
    assert len({free_port() for _ in range(20)}) > 1


async def test_the_whole_service_starts_and_carries_a_job_to_its_end(
    stack: Callable[..., Awaitable[Stack]],
) -> None:
    """API and worker as processes of their own: submitted, streamed, ended."""
    running = await stack()
    job = await running.submit("demo.count", steps=3, delay_seconds=0)
    async with open_stream(running.stream_url(job["id"])) as stream:
        events = await stream.until("end")
    assert events[-1]["status"] == "succeeded"
    assert (await running.job(job["id"]))["done"] is True
    assert all(process.stop() == 0 for process in (*running.workers, *running.apis))
