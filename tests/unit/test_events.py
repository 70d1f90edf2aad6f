"""Events on the wire: there and back, and tolerant of what is newer."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given

from milepost.codec import dumps
from milepost.events import (
    CONTROL,
    DURABLE,
    EVENT_TYPES,
    LIFECYCLE,
    AllEnded,
    AnyEvent,
    Ended,
    Event,
    Gap,
    Ping,
    Reconnect,
    StatusChanged,
    from_wire,
    to_wire,
)
from tests.support import strategies as some
from tests.support.strategies import AT, JOB_ID


@given(some.events())
def test_an_event_survives_the_wire(event: Event) -> None:
    """What arrives is what was sent."""
    assert from_wire(json.loads(dumps(to_wire(event)))) == event


@pytest.mark.parametrize(
    "event",
    [Ping(at=AT), Gap(job_id=JOB_ID, requested="\0", reason="epoch"), Reconnect(reason="drain", retry_ms=10)],
)
def test_control_events_survive_the_wire_and_have_no_place(event: AnyEvent) -> None:
    """They describe the connection: a cursor in them would move the reader."""
    wire = to_wire(event)
    assert from_wire(wire) == event
    assert not {"seq", "cursor"} & set(wire)


@given(some.events())
def test_fields_that_are_not_known_are_ignored(event: Event) -> None:
    """A newer server may add any."""
    assert from_wire(to_wire(event) | {"mood": "good"}) == event


@pytest.mark.parametrize("wire", [{"type": "mood"}, {}, {"type": ""}, {"type": "error", "message": "x"}])
def test_types_that_are_not_known_are_no_event(wire: dict[str, object]) -> None:
    """A client skips them."""
    assert from_wire(wire) is None


def test_a_status_that_is_not_known_stays_text() -> None:
    """It is shown as it is."""
    wire = {"type": "status", "job_id": JOB_ID, "seq": 1, "cursor": "a-1", "at": AT, "status": "paused"}
    event = from_wire(wire)
    assert isinstance(event, StatusChanged)
    assert event.status == "paused"


def test_an_event_without_what_its_type_needs_is_refused() -> None:
    """Half an event is a bug of the sender, not a default."""
    with pytest.raises(TypeError, match="seq"):
        from_wire({"type": "progress", "job_id": JOB_ID})


def test_no_event_has_a_name_that_eventsource_owns() -> None:
    """`error`, `open` and `message` mean something else to every EventSource (HTML §9.2)."""
    assert not {"error", "open", "message"} & set(EVENT_TYPES)


def test_the_event_types_are_the_documented_ones() -> None:
    """Clients switch on these names; they are never renamed."""
    assert {cls.type for cls in DURABLE} == {
        "snapshot", "status", "progress", "log", "output", "stalled", "end", "job_end",
    }  # fmt: skip
    assert {cls.type for cls in CONTROL} == {
        "waiting", "ping", "gap", "reconnect", "selection", "job_missing",
    }  # fmt: skip
    assert {"status", "end"} == LIFECYCLE


@given(some.events())
def test_every_durable_event_says_its_type_first_and_its_place(event: Event) -> None:
    """The same object serves SSE, NDJSON, long-poll and logs, where no `id:` line stands beside it."""
    wire = to_wire(event)
    assert next(iter(wire)) == "type"
    assert {f.name for f in fields(Event)} <= set(wire)


def test_the_end_of_all_jobs_is_told_from_that_of_one() -> None:
    """They have one name, which is what an EventSource listens for; only that of one says which job."""
    end = AllEnded(at=AT, jobs=2, by_status={"succeeded": 1, "missing": 1})
    assert from_wire(to_wire(end)) == end
    assert to_wire(end)["type"] == Ended.type
    one = from_wire(
        {"type": "end", "job_id": JOB_ID, "seq": 1, "cursor": "a-1", "at": AT, "status": "failed"}
    )
    assert type(one) is Ended
