"""The sockets that the API listens on. What is set here, every connection that they accept inherits."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from milepost.errors import SettingsError

SEND_BUFFER_BYTES = 65_536
"""What the kernel holds for one reader (Linux doubles this). Left to itself it takes megabytes before anybody

notices that nothing is read.
"""

_PROBES = 3
_DARWIN_RXT_CONNDROPTIME = 0x80  # netinet/tcp.h of macOS, in seconds; Python has no name for it
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a name may mean ::1 where there is no IPv6

Option = tuple[int, int, int]
"""What `setsockopt` takes: level, option, value."""


def listen(host: str, port: int, *, lost_seconds: float) -> list[socket.socket]:
    """Return sockets bound to every address of `host`, all to one port: `port`, or any free one if that is 0.

    A peer that acknowledges nothing for `lost_seconds` is lost. Raises `SettingsError` if nobody can listen there.
    """
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return _bound(
            list(dict.fromkeys((family, address) for family, _, _, _, address in found)), lost_seconds
        )
    except OSError as error:
        raise SettingsError(
            f"Nothing can listen on port {port} of {host}: {error.strerror}. Stop what listens there, or choose "
            "another address with MILEPOST_HOST and MILEPOST_PORT."
        ) from None


def _bound(places: list[tuple[int, tuple[object, ...]]], lost_seconds: float) -> list[socket.socket]:
    absent: OSError | None = None
    with ExitStack() as opened:
        listeners: list[socket.socket] = []
        for family, (host, port, *rest) in places:
            chosen = listeners[0].getsockname()[1] if listeners else port
            try:
                listeners.append(opened.enter_context(_one(family, (host, chosen, *rest), lost_seconds)))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                absent = error
        if absent and not listeners:
            raise absent
        opened.pop_all()
    return listeners


def _one(family: int, address: tuple[object, ...], lost_seconds: float) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # `::` is not 0.0.0.0 as well
        for level, option, value in inherited(lost_seconds):
            listener.setsockopt(level, option, value)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def inherited(lost_seconds: float, platform: str = sys.platform) -> Iterator[Option]:
    """Yield what connections get from their listener, as far as this platform can.

    Two ways to learn that a peer has gone without a word, which TCP itself takes a quarter of an hour to notice:
    probes where nothing is said, a limit on what stays unacknowledged where something is (RFC 5482).
    """
    yield socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    idle, interval = max(1, round(lost_seconds / 2)), max(1, round(lost_seconds / (2 * _PROBES)))
    for name, value in (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPALIVE", idle),  # what macOS calls it
        ("TCP_KEEPINTVL", interval),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", round(lost_seconds * 1000)),
    ):
        if (option := getattr(socket, name, None)) is not None:
            yield socket.IPPROTO_TCP, option, value
    if platform == "darwin":
        yield socket.IPPROTO_TCP, _DARWIN_RXT_CONNDROPTIME, max(1, round(lost_seconds))
