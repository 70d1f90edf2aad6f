"""What both clients need of httpx2: its options and what its exceptions mean."""

from __future__ import annotations

from typing import Any

import httpx2

from milepost.client.address import Address
from milepost.client.backoff import Backoff
from milepost.client.errors import ClientError, Unreachable

TRIES = 3
PATIENCE_SECONDS = 10.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 37.5
"""A stream that sends nothing for 2.5 pings (15 s) is dead, whatever the socket says: proxies go mute."""

FAILURES = (httpx2.TransportError, httpx2.DecodingError)


def options(address: Address, timeout_seconds: float) -> dict[str, Any]:
    """Return the keyword arguments of an httpx2 client."""
    return {
        "base_url": address.url,
        "headers": address.headers,
        "timeout": httpx2.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
        # One connection per watched job: the default of 100 would make the 101st wait for a place.
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=20),
        # A proxy for the outside (HTTP_PROXY) must not be asked for the server on this machine.
        "trust_env": not address.is_loopback,
    }


def stream_timeout(timeout_seconds: float, silence_seconds: float) -> httpx2.Timeout:
    """Return the limits of a stream: `read` is per piece, hence a watchdog on silence, not on the whole."""
    return httpx2.Timeout(
        timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds), read=silence_seconds
    )


def unreachable(error: httpx2.RequestError, address: Address) -> Unreachable:
    """Say in a sentence what an exception of httpx2 means."""
    match error:
        case httpx2.ConnectError():
            why, hint = "nothing accepts connections there", " Is it running? `milepost up` starts one."
        case httpx2.ConnectTimeout():
            why, hint = "it did not accept the connection in time", ""
        case httpx2.TimeoutException():
            why, hint = "nothing was heard in time", ""
        case _:
            why, hint = f"the connection failed ({str(error) or type(error).__name__})", ""
    return Unreachable(f"Milepost at {address.url} cannot be reached: {why}.{hint}")


class Tries:
    """How often a call is made. All of them may be repeated: a submission carries its idempotency key.

    A server that asks for more time than `PATIENCE_SECONDS` is not waited for: the caller may know better.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff, self._left = backoff, TRIES - 1

    def after(self, error: ClientError) -> float:
        """Return how many seconds to wait before the next try; raises `error` when there is none."""
        impatient = (error.retry_after_seconds or 0) > PATIENCE_SECONDS
        if not error.transient or impatient or self._left == 0:
            raise error
        self._left -= 1
        return self._backoff.next_seconds(error.retry_after_seconds)
