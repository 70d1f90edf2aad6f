"""A schema that is not this version's: refused in a sentence, or migrated with a way back."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from milepost_api import database, main
from milepost_api.records import Engines, JobRecord, JobStore, backup, open_engines, schema
from milepost_api.records.revisions import Fitness, head, known
from milepost_api.settings import ApiSettings
from sqlalchemy import text

from milepost.errors import SettingsError
from milepost.times import utc_now

pytestmark = pytest.mark.anyio
OLDER = list(known())[-2]
NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A SQLite file of the revision before the newest, with a job in it, that others may not read."""
    path = tmp_path / "records.db"
    async with open_engines(f"sqlite+aiosqlite:///{path}") as engines:
        await schema.upgrade(engines)
        await insert(engines, "kept")
        await schema.downgrade(engines, OLDER)
    path.chmod(0o640)
    return path


async def insert(engines: Engines, job_id: str) -> None:
    await JobStore(engines).insert(
        JobRecord(id=job_id, task="t", params="{}", tags=["x"], created_at=utc_now())
    )


async def stamp(engines: Engines, revision: str) -> None:
    """Say that the database is of another revision."""
    async with engines.writer.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


def settings(path: Path) -> ApiSettings:
    return ApiSettings(database_url=f"sqlite:///{path}")


def rows(path: Path) -> tuple[str, list[str]]:
    """Return the revision of a SQLite file and the jobs in it."""
    with closing(sqlite3.connect(path)) as connection:
        [[revision]] = connection.execute("SELECT version_num FROM alembic_version")
        return revision, [job for (job,) in connection.execute("SELECT id FROM jobs ORDER BY id")]


def copies(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.backup*"))


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [("9999", "made by a newer version"), ("ae1027a6acf", "none of Milepost's")],
)
async def test_an_unknown_revision_is_refused_by_start_and_upgrade(
    engines: Engines, database_url: str, revision: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`db upgrade` could not help, so it is not recommended; it says the same, and nothing is changed."""
    await schema.upgrade(engines)
    await insert(engines, "kept")
    await stamp(engines, revision)
    with pytest.raises(SettingsError, match=sentence) as refused:
        await schema.require_current(engines)
    assert "Run: milepost db upgrade" not in str(refused.value)
    with pytest.raises(SettingsError, match=sentence):
        await schema.upgrade(engines)
    assert (await schema.look(engines)).revision == revision

    given = {"database_url": database_url.replace("+asyncpg", "").replace("+aiosqlite", "")}
    assert await asyncio.to_thread(main.main, ["db", "upgrade"], **given) == 2
    assert await asyncio.to_thread(main.main, ["db", "current"], **given) == 0
    said = capsys.readouterr()
    assert sentence in said.err
    assert f"{revision} (unknown)" in said.out


async def test_tables_of_another_program_are_left_alone(engines: Engines) -> None:
    """A table of the name `jobs` that Milepost did not make is neither used nor altered."""
    async with engines.writer.begin() as connection:
        await connection.execute(text("CREATE TABLE jobs (x INTEGER)"))
    for action in (schema.require_current, schema.upgrade):
        with pytest.raises(SettingsError, match="did not make"):
            await action(engines)


async def test_the_command_says_where_the_database_stands_and_what_was_done(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, older, current; every migration by name; a second time there is nothing to do."""
    given = {"database_url": database_url.replace("+asyncpg", "").replace("+aiosqlite", "")}

    async def said(*words: str) -> str:
        assert await asyncio.to_thread(main.main, ["db", *words], **given) == 0
        return capsys.readouterr().out

    assert "none (empty)" in await said("current")
    output = await said("upgrade")
    assert "was empty" in output
    assert all(revision in output for revision in known())
    async with open_engines(database_url) as engines:
        await schema.downgrade(engines, OLDER)
    assert f"{OLDER} (older)" in await said("current")
    output = await said("upgrade")
    assert (f"was at revision {OLDER}" in output, known()[head()] in output) == (True, True)
    assert "nothing was done" in await said("upgrade")
    assert f"{head()} (current)" in await said("current")


async def test_what_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """No traceback for a file that holds something else."""
    path = tmp_path / "records.db"
    path.write_text("This is a letter." * 100)
    with pytest.raises(SettingsError, match="not a database"):
        await database.prepare(settings(path))


async def test_a_postgresql_database_that_does_not_exist_is_said_not_to(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2: waiting would not help."""
    url = postgres_url.replace("+asyncpg", "") + "x"
    assert await asyncio.to_thread(main.main, ["db", "upgrade"], database_url=url) == 2
    assert "does not exist" in capsys.readouterr().err


# --- SQLite: a copy first --------------------------------------------------------------------------------------------


async def test_a_file_is_copied_before_it_is_migrated_at_start(file: Path) -> None:
    """Consistent, with what was only in the write-ahead log; named after its revision; as private as the original."""
    with closing(sqlite3.connect(file)) as other:  # keeps the log from being written back
        other.execute("PRAGMA wal_autocheckpoint=0")
        other.execute("UPDATE job_tags SET tag = 'late'")
        other.commit()
        async with open_engines(f"sqlite+aiosqlite:///{file}") as engines:
            done = await schema.upgrade(engines, now=lambda: NOON)
        assert done.backup == file.with_name(f"records.db.{OLDER}-20261121T120000Z.backup")
        assert copies(file) == [done.backup]
        assert rows(done.backup) == (OLDER, ["kept"])
        assert done.backup.stat().st_mode & 0o777 == 0o640
        with closing(sqlite3.connect(done.backup)) as copy:
            assert copy.execute("SELECT tag FROM job_tags ORDER BY tag").fetchall() == [("late",)]
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert rows(file) == (head(), ["kept"])


async def test_an_empty_or_current_file_is_not_copied(tmp_path: Path, file: Path) -> None:
    """Nothing that could be lost; every start would leave a file behind."""
    await database.prepare(settings(tmp_path / "new.db"))
    await database.prepare(settings(file))
    made = copies(file)
    assert len(made) == 1
    await database.prepare(settings(file))
    assert copies(file) == made
    async with open_engines(f"sqlite+aiosqlite:///{tmp_path}/new.db") as engines:
        await schema.downgrade(engines, OLDER)
    await database.prepare(settings(tmp_path / "new.db"))
    assert copies(file) == made


async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of its work: what it had done is undone, the sentence says where the copy is."""
    real = command.upgrade

    def fails(config: Any, revision: str) -> None:
        real(config, revision)
        config.attributes["connection"].execute(text("DELETE FROM jobs"))
        config.attributes["connection"].execute(text("INSERT INTO no_such_table VALUES (1)"))

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", fails)
        with pytest.raises(
            SettingsError, match=f"from revision {OLDER} .*no such table.*as it was.*backup"
        ) as said:
            await database.prepare(settings(file))
    assert rows(file) == (OLDER, ["kept"])
    assert str(copies(file)[0]) in str(said.value)
    await database.prepare(settings(file))
    assert rows(file) == (head(), ["kept"])


async def test_a_full_disk_is_a_sentence_and_the_file_is_not_touched(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half a copy is left behind, and nothing is migrated without one."""

    def full(_path: Path, to: Path) -> None:
        to.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(backup, "_copy", full)
        with pytest.raises(SettingsError, match=r"no backup copy.*No space left"):
            await database.prepare(settings(file))
    assert (rows(file), copies(file)) == ((OLDER, ["kept"]), [])


async def test_a_copy_that_does_not_fit_is_refused_by_sqlite_itself(file: Path, tmp_path: Path) -> None:
    """The same with a real limit: it is SQLite that cannot write."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE jobs SET params = hex(zeroblob(500000))")
        connection.commit()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # Python ignores SIGXFSZ, so writes fail
    try:
        with pytest.raises(SettingsError, match="no backup copy"):
            await database.prepare(settings(file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (rows(file), copies(file)) == ((OLDER, ["kept"]), [])


async def test_two_that_start_at_once_migrate_once(file: Path) -> None:
    """One copies and migrates; the other waits and finds it done."""
    await asyncio.gather(*(database.prepare(settings(file)) for _ in range(3)))
    assert rows(file) == (head(), ["kept"])
    assert len(copies(file)) == 1


async def test_the_copy_can_take_the_place_of_the_file(file: Path) -> None:
    """The way back that the operator is told: put the copy where the file was, and the older version starts on it."""
    await database.prepare(settings(file))
    [copy] = copies(file)
    for part in file.parent.glob("records.db-*"):
        part.unlink()
    shutil.copy(copy, file)
    async with open_engines(f"sqlite+aiosqlite:///{file}") as engines:
        assert (await schema.look(engines)).fitness == Fitness.OLDER
    await database.prepare(settings(file))
    assert rows(file) == (head(), ["kept"])
