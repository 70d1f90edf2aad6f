"""What the database keeps up by itself, beside the records: the status in `job_tags`, and the index for text.

Triggers, so that whoever changes a record, by whatever statement, cannot forget them. They are installed after every
migration: SQLite drops the triggers of a table that a migration makes anew.

Text is found by the three characters in a row (trigrams) that it holds. SQLite has an index for that, FTS5. PostgreSQL
has one in `pg_trgm`, an extension that somebody may have to be allowed, or asked, to install; an ordinary index of an
array of trigrams needs no right but the one to create tables. It is a table of its own: an index on `jobs` would be
written anew whenever a job changes its status.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, inspect, text

SEARCH = "job_search"
TRIGGERS = ("jobs_search_insert", "jobs_search_update", "jobs_search_delete", "jobs_status_update")

_SQLITE_SEARCH = """
    CREATE VIRTUAL TABLE job_search USING fts5(
        search, content='jobs', content_rowid='sort_key', tokenize='trigram case_sensitive 1', detail='none'
    )
"""  # case_sensitive: the text is folded already; detail: where in the text it stands is of no interest
_SQLITE_FORGET = (
    "INSERT INTO job_search(job_search, rowid, search) VALUES ('delete', OLD.sort_key, OLD.search);"
)
_SQLITE_KEEP = "INSERT INTO job_search(rowid, search) VALUES (NEW.sort_key, NEW.search);"
_SQLITE_TRIGGERS = (
    f"AFTER INSERT ON jobs BEGIN {_SQLITE_KEEP} END",
    f"""AFTER UPDATE OF search, sort_key ON jobs
        WHEN OLD.search IS NOT NEW.search OR OLD.sort_key IS NOT NEW.sort_key
        BEGIN {_SQLITE_FORGET} {_SQLITE_KEEP} END""",
    f"AFTER DELETE ON jobs BEGIN {_SQLITE_FORGET} END",
    """AFTER UPDATE OF status ON jobs WHEN OLD.status IS NOT NEW.status
        BEGIN UPDATE job_tags SET status = NEW.status WHERE job_id = NEW.id; END""",
)

_POSTGRES_SEARCH = """
    CREATE TABLE job_search (
        sort_key bigint CONSTRAINT pk_job_search PRIMARY KEY
            CONSTRAINT fk_job_search_jobs REFERENCES jobs (sort_key) ON UPDATE CASCADE ON DELETE CASCADE,
        search text COLLATE "C" NOT NULL
    )
"""
# Linear in the length of the text: substr() would count its characters from the beginning every time.
_POSTGRES_TRIGRAMS = """
    CREATE OR REPLACE FUNCTION milepost_trigrams(value text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
    DECLARE
        first text := '';
        second text := '';
        third text;
        found text[];
        place int := -2;
    BEGIN
        FOREACH third IN ARRAY string_to_array(value, NULL) LOOP
            place := place + 1;
            IF place > 0 THEN
                found[place] := first || second || third;
            END IF;
            first := second;
            second := third;
        END LOOP;
        RETURN found;
    END $$
"""
_POSTGRES_KEEP = """
    CREATE OR REPLACE FUNCTION milepost_keep_search() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO job_search (sort_key, search) VALUES (NEW.sort_key, NEW.search)
        ON CONFLICT (sort_key) DO UPDATE SET search = EXCLUDED.search;
        RETURN NULL;
    END $$
"""
_POSTGRES_STATUS = """
    CREATE OR REPLACE FUNCTION milepost_keep_tags() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE job_tags SET status = NEW.status WHERE job_id = NEW.id;
        RETURN NULL;
    END $$
"""
_POSTGRES_TRIGGERS = (
    "AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION milepost_keep_search()",
    """AFTER UPDATE OF search ON jobs FOR EACH ROW WHEN (OLD.search <> NEW.search)
        EXECUTE FUNCTION milepost_keep_search()""",
    None,  # a job that is deleted takes its text along, by the foreign key
    """AFTER UPDATE OF status ON jobs FOR EACH ROW WHEN (OLD.status <> NEW.status AND NEW.tags <> '[]')
        EXECUTE FUNCTION milepost_keep_tags()""",
)


def create_search(connection: Connection) -> None:
    """Create the index for text and fill it with the text of the jobs that are there."""
    if connection.dialect.name == "sqlite":
        _run(connection, [_SQLITE_SEARCH, "INSERT INTO job_search(job_search) VALUES ('rebuild')"])
        return
    _run(connection, [_POSTGRES_TRIGRAMS, _POSTGRES_SEARCH])
    _run(connection, ["INSERT INTO job_search SELECT sort_key, search FROM jobs"])
    _run(
        connection,
        ["CREATE INDEX ix_job_search_trigrams ON job_search USING gin (milepost_trigrams(search))"],
    )


def drop_search(connection: Connection) -> None:
    """Drop the index for text and all triggers."""
    drop_triggers(connection)
    _run(connection, ["DROP TABLE job_search"])
    if connection.dialect.name != "sqlite":
        names = ("milepost_trigrams(text)", "milepost_keep_search()", "milepost_keep_tags()")
        _run(connection, [f"DROP FUNCTION {name}" for name in names])


def install(connection: Connection) -> None:
    """Install the triggers as they are in this code. Without the table for text there is nothing to do yet."""
    if not inspect(connection).has_table(SEARCH):
        return
    drop_triggers(connection)
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite:
        _run(connection, [_POSTGRES_TRIGRAMS, _POSTGRES_KEEP, _POSTGRES_STATUS])
    bodies = _SQLITE_TRIGGERS if sqlite else _POSTGRES_TRIGGERS
    _run(
        connection,
        [f"CREATE TRIGGER {name} {body}" for name, body in zip(TRIGGERS, bodies, strict=True) if body],
    )


def drop_triggers(connection: Connection) -> None:
    """Drop the triggers, if they are there."""
    where = "" if connection.dialect.name == "sqlite" else " ON jobs"
    _run(connection, [f"DROP TRIGGER IF EXISTS {name}{where}" for name in TRIGGERS])


def _run(connection: Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        connection.execute(text(statement.replace(":=", r"\:=")))
