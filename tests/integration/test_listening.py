"""Where the API listens, and what every connection gets from there."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from milepost_api.listening import SEND_BUFFER_BYTES, inherited, listen

from milepost.errors import SettingsError
from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.sockets import connections_of


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes the sockets of a test."""
    with ExitStack() as stack:
        yield stack


def accepted(opened: ExitStack, listener: socket.socket) -> socket.socket:
    """Connect, and return the server's end."""
    listener.listen()
    client = opened.enter_context(socket.socket(listener.family))
    client.connect(listener.getsockname()[:2])
    server, _ = listener.accept()
    return opened.enter_context(server)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]"])
def test_a_connection_inherits_what_the_listener_was_given(host: str, opened: ExitStack) -> None:
    """A small send buffer, probes, and a limit on what stays unacknowledged."""
    [listener] = (opened.enter_context(one) for one in listen(host, 0, lost_seconds=12))
    connection = accepted(opened, listener)
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER_BYTES
    for level, option, value in inherited(12):
        found = connection.getsockopt(level, option)
        assert found == value or (option == socket.SO_SNDBUF and found == 2 * value), (level, option)


def test_what_a_platform_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS the names and units differ: seconds, and a number where Python has no name."""
    for name in ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE"):
        monkeypatch.delattr(socket, name, raising=False)
    monkeypatch.setattr(socket, "TCP_KEEPALIVE", 0x10, raising=False)
    given = {(level, option): value for level, option, value in inherited(30, "darwin")}
    assert given[socket.IPPROTO_TCP, 0x10] == 15
    assert given[socket.IPPROTO_TCP, 0x80] == 30
    assert given[socket.SOL_SOCKET, socket.SO_SNDBUF] == SEND_BUFFER_BYTES


def test_a_name_of_several_addresses_is_listened_to_on_one_port(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any free port is the same one for IPv4 and IPv6, whatever the machine calls localhost."""
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    listeners = [opened.enter_context(one) for one in listen("localhost", 0, lost_seconds=30)]
    assert len({one.getsockname()[1] for one in listeners}) == 1
    for listener in listeners:
        accepted(opened, listener)


def test_an_address_that_is_not_here_is_left_out_of_several(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` may mean ::1 where there is no IPv6; alone, such an address is refused."""
    elsewhere = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))  # RFC 5737: nobody's
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [elsewhere, here])
    [listener] = (opened.enter_context(one) for one in listen("localhost", 0, lost_seconds=30))
    assert listener.getsockname()[0] == "127.0.0.1"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [elsewhere])
    with pytest.raises(SettingsError, match=r"port 0 of elsewhere: .*MILEPOST_HOST"):
        listen("elsewhere", 0, lost_seconds=30)


def test_a_port_in_use_is_refused_in_a_sentence(tmp_path: Path, redis_server: RedisServer) -> None:
    """Exit code 2, what to do, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _api(tmp_path, redis_server, MILEPOST_PORT=str(port)) as process:
            assert process.wait() == 2
            assert f"port {port} of 127.0.0.1: Address already in use. Stop what" in process.output()
            assert "Traceback" not in process.output()


def test_a_name_of_nobody_is_refused_in_a_sentence() -> None:
    """A name that means no address (RFC 6761: never) is not a traceback."""
    with pytest.raises(SettingsError, match=r"of host\.invalid: .*another address"):
        listen("host.invalid", 80, lost_seconds=30)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only here a connection's options can be read from outside"
)
def test_the_process_serves_on_what_was_prepared_and_tells_where(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """With port 0 the log has an address that can be opened, and `ss` shows what its connections inherited."""
    with _api(tmp_path, redis_server, MILEPOST_HOST="::1", MILEPOST_PORT="0") as process:
        process.wait_until(lambda: "api.listening" in process.output())
        told = re.search(r"http://\[::1\]:(\d+)", process.output())
        assert told
        with socket.create_connection(("::1", int(told[1]))) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            [connection] = connections_of(int(told[1]))
    assert connection.send_buffer_bytes == 2 * SEND_BUFFER_BYTES
    assert connection.keepalive


def _api(folder: Path, redis: RedisServer, **settings: str) -> Process:
    given = {"MILEPOST_DATA_DIR": str(folder / "data"), "MILEPOST_REDIS_URL": redis.url, **settings}
    return Process.python("api", "-m", "milepost_api", log=folder / "api.log", settings=given)
