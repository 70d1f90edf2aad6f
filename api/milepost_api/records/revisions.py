"""Where a database stands, compared with what this code knows; and what to say where that is not enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory


class Fitness(StrEnum):
    """What can be done with a database: serve it, upgrade it, or neither."""

    CURRENT = "current"
    EMPTY = "empty"
    OLDER = "older"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Found:
    """The revision that a database says it has, None if it says none; whether it has a table of our names."""

    revision: str | None
    has_tables: bool

    @property
    def fitness(self) -> Fitness:
        if self.revision is None:
            return Fitness.UNKNOWN if self.has_tables else Fitness.EMPTY
        if self.revision not in known():
            return Fitness.UNKNOWN
        return Fitness.CURRENT if self.revision == head() else Fitness.OLDER

    @property
    def refusal(self) -> str | None:
        """Why it cannot be served as it is, and what to do; None if it can."""
        match self.fitness:
            case Fitness.CURRENT:
                return None
            case Fitness.EMPTY:
                return (
                    f"The database is empty and this version of Milepost needs revision {head()}. {_UPGRADE}"
                )
            case Fitness.OLDER:
                return (
                    f"The database is at revision {self.revision} and this version of Milepost needs {head()}. "
                    f"{_UPGRADE}"
                )
            case Fitness.UNKNOWN:
                return self._unknown

    @property
    def _unknown(self) -> str:
        if self.revision is None:
            return f"The database holds tables that Milepost did not make. {_OWN}"
        if self.revision.isdecimal() and int(self.revision) > int(head()):
            return (
                f"The database is at revision {self.revision}, made by a newer version of Milepost; this one knows "
                f"revisions up to {head()}, and `milepost db upgrade` cannot go back. Start the newer version, or "
                "restore a backup from before the upgrade."
            )
        return f"The database is at revision {self.revision}, which is none of Milepost's. {_OWN}"


_UPGRADE = "Run: milepost db upgrade"
_OWN = "Give Milepost a database of its own: MILEPOST_DATABASE_URL names that of another program."


@cache
def head() -> str:
    """Return the newest revision this code knows."""
    revision = _scripts().get_current_head()
    assert revision is not None, "the package holds no migrations"
    return revision


@cache
def known() -> Mapping[str, str]:
    """Return every revision this code knows, the oldest first, with what it is about."""
    found = reversed(list(_scripts().walk_revisions()))
    return {one.revision: (one.doc or "").partition("\n")[0] for one in found}


def config(**attributes: Any) -> Config:
    """Return Alembic's configuration; `attributes` are what `migrations/env.py` finds."""
    made = Config()
    made.set_main_option(
        "script_location", str(Path(__file__).parent.parent / "migrations").replace("%", "%%")
    )
    made.attributes.update(attributes)
    return made


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(config())
