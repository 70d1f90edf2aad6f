"""A copy of a SQLite file beside it, made before the file is changed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from milepost.errors import SettingsError


def back_up(path: Path, revision: str, now: datetime) -> Path:
    """Copy the database, consistent and on the disk when this returns, readable by whom the original is.

    The name of the copy says which revision it has and when it was made. Raises `SettingsError` when there is no room
    for it, or it cannot be written; then nothing is left behind.
    """
    copy = path.with_name(f"{path.name}.{revision}-{now:%Y%m%dT%H%M%S}Z.backup")
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        _copy(path, unfinished)
        unfinished.replace(copy)
        _sync(copy.parent)
    except (OSError, sqlite3.Error) as error:
        unfinished.unlink(missing_ok=True)
        raise SettingsError(
            f"{path} has to be migrated, and no backup copy of it could be made first ({error}). It was not touched. "
            f"Make room in {path.parent} (it needs as much as the file has), or see to it that it can be written."
        ) from error
    return copy


def _copy(path: Path, to: Path) -> None:
    to.unlink(missing_ok=True)  # what an earlier try left when it was killed
    os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, path.stat().st_mode & 0o777))
    to.chmod(path.stat().st_mode & 0o777)  # whatever the umask took away
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
    _sync(to)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
