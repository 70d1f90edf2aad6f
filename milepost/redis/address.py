"""Where Redis is, as MILEPOST_REDIS_URL says it: one server, or a master that Sentinels name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio import ConnectionPool

from milepost.errors import SettingsError

SENTINEL_PORT = 26379
_SCHEMES = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
_MISTAKEN = {"sentinel", "redis-sentinel", "sentinels", "redis+sentinels", "rediss-sentinel"}
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
EXAMPLE = "redis://[USER:PASSWORD@]HOST:6379/0"
SENTINEL_EXAMPLE = "redis+sentinel://[USER:PASSWORD@]HOST:26379[,HOST:26379]/SERVICE/0"


@dataclass(frozen=True, slots=True)
class Address:
    """`plain` is what redis-py understands; with Sentinels its host means nothing, for they name the host."""

    plain: str
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @property
    def tls(self) -> bool:
        return self.plain.startswith("rediss:")


def parse(url: str) -> Address:
    """Take an address apart. Raises `ValueError` where it is none; its words repeat no password.

    The grammar of Sentinel addresses is the one of redis-sentinel-url and of Prefect:
    redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/SERVICE[/DB][?OPTION=VALUE&...]; what user and
    password are for is the master, the Sentinels have `sentinel_username` and `sentinel_password`.
    """
    scheme, colon, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme in _MISTAKEN:
        raise ValueError(f"the scheme {scheme!r} is not known; with Sentinels write {SENTINEL_EXAMPLE}")
    if not colon or scheme not in _SCHEMES:
        return Address(url)
    rest, _, query = rest.partition("?")
    location, _, path = rest.partition("/")
    user, at, hosts = location.rpartition("@")
    service, _, database = path.strip("/").partition("/")
    if not service:
        raise ValueError("it does not say which service the Sentinels shall name the master of")
    options = dict(parse_qsl(query, keep_blank_values=True))
    username, password = options.pop("sentinel_username", None), options.pop("sentinel_password", None)
    plain = f"{_SCHEMES[scheme]}://{user}{at}master/{database or 0}"
    return Address(
        plain + (f"?{urlencode(options)}" if options else ""),
        tuple(_endpoint(host) for host in hosts.split(",")),
        unquote(service),
        username or None,
        password or None,
    )


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):  # an IPv6 address in brackets has colons of its own
        host, port = text, str(SENTINEL_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise ValueError("one of its Sentinels has no host")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"the port of the Sentinel {host} is no number from 1 to 65535")
    return host, int(port)


def check_url(url: str) -> None:
    """Raise `SettingsError` when this cannot be the address of a Redis: nobody has to be asked to see that."""
    try:
        address = parse(url)
        _check_port(address)
        pool = ConnectionPool.from_url(address.plain)
        # It refuses options that it does not know; nothing is sent yet.
        pool.make_connection()  # type: ignore[no-untyped-call]
        plain = address.plain
        database = urlsplit(plain).path.strip("/") if "://" in plain and not plain.startswith("unix") else ""
        if database and not database.isdecimal():
            raise ValueError(f"{database!r} is no number of a database")  # redis-py would quietly take 0
    except (ValueError, TypeError) as error:
        why = str(error).partition("\n")[0].removesuffix(".")
        example = SENTINEL_EXAMPLE if "+sentinel://" in url.lower() else EXAMPLE
        raise SettingsError(
            f"MILEPOST_REDIS_URL is no address of a Redis ({why}): write {example}."
        ) from None
    for option in _FILES:
        path = pool.connection_kwargs.get(option)
        if path and not os.access(path, os.R_OK):
            raise SettingsError(f"MILEPOST_REDIS_URL: the file of {option}, {path}, cannot be read.")


def _check_port(address: Address) -> None:
    try:
        urlsplit(address.plain).port  # noqa: B018 - asked for what it raises
    except ValueError:
        # What Python says of it repeats the text, which may be the rest of a password.
        hint = "write / as %2F, ? as %3F, # as %23 and @ as %40 in a password"
        raise ValueError(f"its port is no number from 0 to 65535; {hint}") from None


def place(url: str) -> str:
    """Return where that is, without user and password."""
    address = parse(url)
    if address.sentinels:
        hosts = ", ".join(f"{host}:{port}" for host, port in address.sentinels)
        return f"{address.service} (Sentinels: {hosts})"
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


def user_of(url: str) -> str:
    """Return the name by which Redis knows us."""
    return unquote(urlsplit(parse(url).plain).username or "default")
