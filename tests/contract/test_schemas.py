"""The published JSON Schemas: in step with the types, open where clients must be, true of the transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from contract.files import SCHEMAS, Transcript, transcripts
from contract.generate import schemas, text_of
from milepost.codec import dumps
from milepost.events import (
    EVENT_TYPES,
    AllEnded,
    Event,
    Gap,
    JobMissing,
    Ping,
    Reconnect,
    Selection,
    to_wire,
)
from milepost.problems import PROBLEM_TYPES, problem
from tests.support import strategies as some
from tests.support.schemas import check_event, validator


def test_the_files_are_what_the_types_say() -> None:
    """They have drifted when this fails: run `python -m contract.generate` and read the difference."""
    files = {path.stem: path.read_text("utf-8") for path in SCHEMAS.glob("*.json")}
    assert files == {name: text_of(schema) for name, schema in schemas().items()}


def test_there_is_a_schema_of_everything_a_client_reads() -> None:
    """Every event, the job, its progress and error, the problem document."""
    events = {f"event-{kind}" for kind in (*EVENT_TYPES, "end-of-all")}
    assert events | {"job", "progress", "job-error", "problem"} == set(schemas())


@pytest.mark.parametrize("name", schemas())
def test_a_schema_is_valid_and_open(name: str) -> None:
    """A closed object, or a closed list of statuses, would break old clients on new servers."""
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    for part in parts(schema):
        if part.get("type") == "object" or "properties" in part:
            assert part.get("additionalProperties") is not False
        if "anyOf" in part and {"$ref": "#/$defs/Status"} in part["anyOf"]:
            assert {"type": "string"} in part["anyOf"]
    assert not any(part == {"$ref": "#/$defs/Status"} for part in direct(schema))


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a schema."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(inner)


def direct(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas of properties, without a choice around them."""
    for part in parts(schema):
        yield from part.get("properties", {}).values()


@pytest.mark.parametrize("transcript", transcripts(), ids=lambda transcript: transcript.name)
def test_the_transcripts_fit_the_schemas(transcript: Transcript) -> None:
    """Unknown members and statuses too: that is what open means."""
    for event in transcript.events:
        check_event(event)
    for snapshot in transcript.snapshots:
        validator("job").validate(snapshot)


@given(some.events())
def test_any_event_fits_its_schema(event: Event) -> None:
    """Whatever Milepost can send."""
    check_event(to_wire(event))


def test_control_events_fit_their_schemas() -> None:
    """They are on the wire as well."""
    for event in (
        Ping(at=some.AT),
        Gap(job_id=some.JOB_ID, requested="x", reason="ahead"),
        Gap(job_id=None, requested="x-1", reason="lost"),
        Reconnect(reason="drain", retry_ms=1),
        Selection(at=some.AT, jobs=3, truncated=True, resumed=False),
        JobMissing(job_id=some.JOB_ID, at=some.AT, reason="unknown"),
        AllEnded(at=some.AT, jobs=1, by_status={"failed": 1}),
    ):
        check_event(to_wire(event))


@given(st.sampled_from(sorted(PROBLEM_TYPES)), some.text)
def test_any_problem_fits_its_schema(name: str, detail: str) -> None:
    """With whatever the occurrence adds."""
    validator("problem").validate(problem(name, detail, errors=[dumps(detail)]))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"seq": "7"}, "seq"),
        ({"at": "yesterday"}, "at"),
        ({"type": "end"}, "type"),
        ({"progress": {"percent": "half"}}, "progress"),
        ({"progress": None}, "progress"),
    ],
)
def test_the_schemas_refuse_what_is_wrong(change: dict[str, Any], path: str) -> None:
    """A schema that accepts everything would pass every test above."""
    good = next(event for one in transcripts() for event in one.events if event["type"] == "progress")
    validator("event-progress").validate(good)
    with pytest.raises(ValidationError) as caught:
        validator("event-progress").validate(good | change)
    assert caught.value.absolute_path[0] == path
