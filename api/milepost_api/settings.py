"""Settings of the API process, on top of those that every process shares."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Ge, Le
from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from milepost.settings import Settings
from milepost_api.crossing import origins
from milepost_api.keys import read_keys

SECRET_CHARACTERS = 32
"""RFC 7518 §3.2: a key of HS256 is at least as long as its hash, 256 bits."""

_SCHEMES = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


def _or_zero(given: object) -> object:
    """An empty variable is how Compose and others pass one that is not set."""
    return 0 if isinstance(given, str) and not given.strip() else given


class ApiSettings(Settings):
    """What the HTTP face needs to know. `.env` files are not read: there is one place to look."""

    host: str = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65_535)] = 8000  # 0: any free one
    data_dir: Path = Path(".milepost")
    database_url: str = Field(default="", repr=False)  # default: SQLite below data_dir
    api_keys: SecretStr = SecretStr("")  # KEY or TENANT:KEY, separated by commas
    api_keys_file: Path | None = None  # a file of the same, one a line: a mounted secret
    token_secret: SecretStr = SecretStr(
        ""
    )  # signs stream tokens; several, separated by commas: the first signs
    token_secret_file: Path | None = None  # a file of the same, one a line
    token_grace_seconds: Annotated[float, Ge(0), Le(86_400)] = (
        3600  # streams resume for so long after their token
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()  # pages of other origins that may use this API

    history_retention_days: Annotated[float, Ge(0), BeforeValidator(_or_zero)] = 0  # in SQL; 0: for ever
    body_limit_bytes: Annotated[int, Ge(1024)] = 1024 * 1024
    ping_seconds: Annotated[float, Ge(1)] = 15  # well inside the 60 s idle limit of common proxies
    stream_writer: Literal["lanes", "plain"] = "lanes"  # plain: a few tasks a stream, through ASGI alone
    stream_seconds_max: Annotated[float, Ge(0)] = 600  # then a stream is asked to come back; 0: never
    stream_limit: Annotated[int, Ge(1)] | None = None  # default: what the limit of open files leaves room for
    stalled_reader_seconds: Annotated[float, Ge(0.1)] = 10  # a stream that nobody reads is cut after so long
    lost_reader_seconds: Annotated[float, Ge(1)] = 30  # a peer that acknowledges nothing for so long is gone
    long_poll_seconds_max: Annotated[float, Ge(0)] = 60
    redis_answer_seconds: Annotated[float, Ge(0.1)] = 8  # a request waits so long for Redis, then says 503
    page_limit_items: Annotated[int, Ge(1), Le(1000)] = 100
    shutdown_grace_seconds: Annotated[int, Ge(1)] = 10  # what open requests get to finish after SIGTERM

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the records, with an async driver."""
        if not self.database_url:
            return f"sqlite+aiosqlite:///{self.data_dir.resolve() / 'milepost.db'}"
        scheme, _, rest = self.database_url.partition("://")
        return f"{_SCHEMES[scheme]}://{rest}"

    @property
    def sqlite_path(self) -> Path | None:
        """The file of the records, None where they are in PostgreSQL."""
        scheme, _, rest = self.database.partition(":///")
        return Path(rest) if scheme.startswith("sqlite") else None

    @model_validator(mode="after")  # of the whole, not of the field: its sentence would show the password
    def _a_database_that_stays(self) -> Self:
        scheme, _, rest = self.database_url.partition("://")
        if self.database_url and (scheme not in _SCHEMES or not rest):
            raise ValueError(
                "MILEPOST_DATABASE_URL is neither sqlite:///PATH nor postgresql://USER:PASSWORD@HOST/NAME"
            )
        if scheme.startswith("sqlite") and rest in ("/", "/:memory:"):
            raise ValueError(
                "MILEPOST_DATABASE_URL names no file: a database in memory would forget accepted jobs"
            )
        return self

    @model_validator(mode="after")
    def _records_outlive_redis(self) -> Self:
        kept = self.history_retention_days * 86_400
        if 0 < kept < self.redis_retention_seconds:
            raise ValueError(
                f"MILEPOST_HISTORY_RETENTION_DAYS is {self.history_retention_days:g} ({kept:g} s), which is less than "
                f"MILEPOST_REDIS_RETENTION_SECONDS ({self.redis_retention_seconds}): a job would be listed nowhere and "
                "could still be followed. Keep records at least as long as Redis keeps jobs; 0 keeps them for ever"
            )
        return self

    @property
    def keys(self) -> Mapping[str, str]:
        """The API keys, each with its tenant; none means that whoever reaches the port may do everything."""
        text = self.api_keys.get_secret_value()
        if self.api_keys_file is not None:
            text += "," + self.api_keys_file.read_text("utf-8").replace("\n", ",")
        return read_keys(text)

    @property
    def token_secrets(self) -> Sequence[str]:
        """What signs stream tokens, the newest first; none: each API key signs its own."""
        text = self.token_secret.get_secret_value()
        if self.token_secret_file is not None:
            text += "," + self.token_secret_file.read_text("utf-8").replace("\n", ",")
        return [secret.strip() for secret in text.split(",") if secret.strip()]

    @model_validator(mode="after")
    def _token_secrets_can_sign(self) -> Self:
        try:
            short = any(len(secret) < SECRET_CHARACTERS for secret in self.token_secrets)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"MILEPOST_TOKEN_SECRET_FILE cannot be read: {error}") from None
        if short:
            raise ValueError(
                f"MILEPOST_TOKEN_SECRET: a secret has at least {SECRET_CHARACTERS} characters, or whoever has a token "
                "could find it by trying; `openssl rand -hex 32` prints one"
            )
        return self

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        return tuple(origins(value)) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keys_can_be_read(self) -> Self:
        try:
            _ = self.keys  # refused here if they cannot be told apart
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"MILEPOST_API_KEYS_FILE cannot be read: {error}") from None
        return self

    @model_validator(mode="after")
    def _closed_by_default(self) -> Self:
        if not self.keys and not is_loopback(self.host):
            raise ValueError(
                f"MILEPOST_HOST is {self.host!r} and no API key is set: whoever reaches this machine "
                "could start jobs. Set MILEPOST_API_KEYS (comma-separated), or bind to 127.0.0.1"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost may mean any address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
