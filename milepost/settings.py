"""Settings that every Milepost process understands: `MILEPOST_*` in the environment, unit in the name.

Each process adds its own (`milepost_api.settings`, `milepost_worker.settings`). They are read once at start;
a wrong one stops the process with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, TypeVar

from annotated_types import Ge
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from milepost.errors import SettingsError

PREFIX = "MILEPOST_"


class Settings(BaseSettings):
    """What API and worker must agree on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", allow_inf_nan=False)

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)  # it may hold passwords
    lease_seconds: Annotated[float, Ge(1)] = 12  # a worker silent for so long has lost its jobs
    silence_seconds: Annotated[float, Ge(0.5)] = 6  # after so long readers are told `stalled`
    history_limit_events: Annotated[int, Ge(10)] = 2000  # per job: minutes of progress at ten a second
    redis_retention_seconds: Annotated[int, Ge(60)] = 86_400  # a finished job can be replayed for so long
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    @property
    def heartbeat_seconds(self) -> float:
        """How often a worker renews its leases: three may be lost before anybody is told anything."""
        return min(self.lease_seconds / 4, self.silence_seconds / 2)

    @model_validator(mode="after")
    def _silence_is_noticed_before_the_lease_ends(self) -> Self:
        if self.silence_seconds >= self.lease_seconds:
            raise ValueError(
                f"MILEPOST_SILENCE_SECONDS ({self.silence_seconds:g}) must be less than "
                f"MILEPOST_LEASE_SECONDS ({self.lease_seconds:g}): readers are told before the lease ends"
            )
        return self


S = TypeVar("S", bound=Settings)


def load(cls: type[S], **given: Any) -> S:
    """Read the settings of this process; `given` (from the command line) wins over the environment.

    Raises `SettingsError` with one sentence per wrong setting.
    """
    try:
        return cls(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("\n".join(_sentences(error))) from None


def _sentences(error: ValidationError) -> Iterable[str]:
    for problem in error.errors():
        message = problem["msg"].removeprefix("Value error, ")
        if problem["loc"]:
            name = PREFIX + str(problem["loc"][0]).upper()
            yield f"{name} is {problem['input']!r}: {message[:1].lower()}{message[1:]}."
        else:
            yield f"{message}."
