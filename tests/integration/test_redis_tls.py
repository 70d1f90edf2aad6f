"""Redis behind TLS, by its URL alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import trustme

from milepost.redis import connect, connect_sync
from tests.support.process import refused
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.sse import open_stream
from tests.support.stack import Stack

Start = Callable[..., Awaitable[Stack]]


@dataclass(frozen=True)
class Tls:
    """A port that speaks TLS in front of Redis and wants a certificate of its clients, and the files for it."""

    port: int
    authority: Path
    ours: Path
    strangers: Path

    @property
    def url(self) -> str:
        return (
            f"rediss://127.0.0.1:{self.port}/0?ssl_cert_reqs=required&ssl_check_hostname=true"
            f"&ssl_ca_certs={self.authority}&ssl_certfile={self.ours}&ssl_keyfile={self.ours}"
        )


@pytest.fixture
async def tls(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Tls]:
    authority, stranger = trustme.CA(), trustme.CA()
    files = {name: tmp_path / f"{name}.pem" for name in ("authority", "ours", "strangers")}
    authority.cert_pem.write_to_path(str(files["authority"]))
    stranger.cert_pem.write_to_path(str(files["strangers"]))
    authority.issue_cert("milepost").private_key_and_cert_chain_pem.write_to_path(str(files["ours"]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with TcpProxy(redis_server.url, tls=context) as proxy:
        yield Tls(proxy.port, **files)


async def test_jobs_run_through_tls_with_certificates_on_both_sides(stack: Start, tls: Tls) -> None:
    """Commands, the subscription and the worker's thread: nothing goes another way."""
    running = await stack(redis_url=tls.url, modules=("tests.support.tasks.played",))
    job = await running.submit("test.count", steps=5, delay_seconds=0.01)
    async with open_stream(running.stream_url(job["id"])) as stream:
        assert (await stream.rest())[-1]["status"] == "succeeded"


@pytest.mark.parametrize("module", ["milepost_api", "milepost_worker"])
async def test_a_certificate_that_is_not_trusted_is_a_sentence(tmp_path: Path, tls: Tls, module: str) -> None:
    """It says what is not trusted and which option names the authority; nothing is waited for."""
    said = await asyncio.to_thread(
        refused, module, tmp_path, tls.url.replace(str(tls.authority), str(tls.strangers))
    )
    assert f"the certificate of 127.0.0.1:{tls.port} is not trusted" in said
    assert "ssl_ca_certs=" in said


@pytest.mark.parametrize("module", ["milepost_api", "milepost_worker"])
async def test_a_file_that_is_not_there_is_named(tmp_path: Path, tls: Tls, module: str) -> None:
    """Nobody has to be asked to see that."""
    said = await asyncio.to_thread(
        refused, module, tmp_path, tls.url.replace(str(tls.authority), "/nowhere/ca.pem")
    )
    assert "the file of ssl_ca_certs, /nowhere/ca.pem, cannot be read" in said


async def test_sentinels_are_asked_with_the_tls_of_the_master(tmp_path: Path, tls: Tls) -> None:
    """`rediss+sentinel` is for both; one authority covers both."""
    url = tls.url.replace("rediss://", "rediss+sentinel://s1,s2:1/").replace(
        f"127.0.0.1:{tls.port}", "mymaster"
    )
    for client in (connect(url), connect_sync(url)):
        pool = cast("Any", client.connection_pool)
        kinds = {pool.connection_class.__mro__[3].__name__}
        for sentinel in pool.sentinels._clients:
            kinds.add(sentinel.connection_pool.connection_class.__name__)
            options = sentinel.connection_pool.connection_kwargs
            assert (options["ssl_ca_certs"], options["ssl_certfile"]) == (str(tls.authority), str(tls.ours))
        assert kinds == {"SSLConnection"}
