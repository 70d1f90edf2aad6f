"""Where the server is and how to be let in: parameters, or MILEPOST_URL and MILEPOST_API_KEY."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from milepost.errors import SettingsError

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Address:
    """A checked base URL without a slash at its end, and the key, which `repr` does not show."""

    url: str
    api_key: str = field(default="", repr=False)

    @classmethod
    def find(
        cls, url: str | None = None, api_key: str | None = None, environ: Mapping[str, str] = os.environ
    ) -> Address:
        """Return the given address, or that of the environment. Raises `SettingsError` if it is none."""
        url = url or environ.get("MILEPOST_URL") or DEFAULT_URL
        key = api_key or environ.get("MILEPOST_API_KEY") or ""
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise SettingsError(f"MILEPOST_URL is {url!r}: it has to look like {DEFAULT_URL}.")
        if not key.isascii() or not key.isprintable():
            raise SettingsError("MILEPOST_API_KEY holds characters that no HTTP header can carry.")
        return cls(url.rstrip("/"), key)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine: no proxy of the environment leads there."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
