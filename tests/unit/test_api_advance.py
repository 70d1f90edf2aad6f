"""Events change records once, in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from milepost_api.records import JobRecord
from milepost_api.records.advance import advance, lifecycle_event

from milepost.log.lifecycle import Outcome

START = datetime(2026, 1, 1, tzinfo=UTC)
OUTCOME = Outcome(result="[1]", expires_at="2026-01-02T00:00:00.000Z")


def event(seq: int, status: str, *, epoch: str = "e", at: int | None = None, **fields: Any) -> dict[str, Any]:
    kind = "end" if status in ("succeeded", "failed", "cancelled") else "status"
    moment = f"2026-01-01T00:00:{seq if at is None else at:02}.000Z"
    base = {"type": kind, "job_id": "a", "seq": seq, "cursor": f"{epoch}-{seq}", "at": moment, "attempt": 1}
    return {**base, "status": status, **fields}


LIFE = [
    event(1, "queued", attempt=0),
    event(2, "running"),
    event(3, "retrying", run_at="2026-01-01T00:00:09.000Z", error={"code": "exception", "message": "x"}),
    event(4, "running", attempt=2),
    event(9, "succeeded", attempt=2),
]

BRANCHED = [  # Redis was restarted while the job ran; its worker handed it back, and another one began it
    *LIFE[:2],
    event(3, "queued", epoch="f", attempt=0),
    event(4, "running", epoch="f"),
    event(5, "succeeded", epoch="f"),
]
ASKED = event(3, "running", at=4, cancel_requested=True)


def second(number: int) -> datetime:
    return START + timedelta(seconds=number)


def after(events: list[dict[str, Any]], outcome: Outcome = OUTCOME) -> dict[str, Any]:
    record = JobRecord(id="a", task="t", params="{}", created_at=START)
    for wire in events:
        found = lifecycle_event(wire)
        assert found is not None
        advance(record, found, outcome)
    return record.model_dump(exclude={"dispatched_at"})


@given(st.lists(st.sampled_from(LIFE), max_size=12))
def test_duplicates_change_nothing_and_the_latest_decides(seen: list[dict[str, Any]]) -> None:
    """Whatever comes again or late, the record stands where the highest number put it."""
    record = after(seen)
    if seen:
        ended = [e for e in seen if e["type"] == "end"]
        latest = ended[0] if ended else max(seen, key=lambda e: int(e["seq"]))
        assert (record["status"], record["version"]) == (latest["status"], latest["seq"])
        assert record["done"] == bool(ended)


@given(st.permutations(LIFE[:-1]))
def test_the_order_does_not_matter_while_the_job_lives(order: list[dict[str, Any]]) -> None:
    """Two recorders may take the events of one job in any order: the beginning is known nevertheless."""
    assert after(order) == after(LIFE[:-1])


def test_another_history_begins_anew() -> None:
    """After Redis lost the job, its numbers start again; late events of the old history are old."""
    new = [event(1, "queued", epoch="f", at=20, attempt=0), event(2, "running", epoch="f", at=21)]
    record = after([*LIFE[:2], *new, LIFE[3]])
    assert (record["epoch"], record["version"], record["status"]) == ("f", 2, "running")
    assert record["started_at"] == second(2)  # somebody had begun it, in whichever history


def test_an_end_of_another_history_ends_the_job_whatever_the_clock_says() -> None:
    """After a failover to a host whose clock is behind, the end seems to be older than what came before it."""
    record = after([*LIFE[:2], event(3, "succeeded", epoch="f", at=1)])
    assert (record["status"], record["done"]) == ("succeeded", True)
    assert (record["epoch"], record["version"]) == ("f", 3)


def test_an_end_counts_however_low_its_number_is() -> None:
    """Redis had lost what the record knows, and did not notice: in the log the job is over."""
    record = after([*LIFE[:4], event(3, "failed", attempt=2)])
    assert (record["status"], record["done"], record["version"]) == ("failed", True, 3)


@given(st.permutations([LIFE[-1], event(3, "failed", epoch="f", at=1), *LIFE[:2]]))
def test_of_two_ends_the_first_to_be_recorded_counts(order: list[dict[str, Any]]) -> None:
    """Readers have perhaps seen it; the second changes nothing, of whichever history it is."""
    first = next(one for one in order if one["type"] == "end")
    record = after(order)
    assert (record["status"], f"{record['epoch']}-{record['version']}") == (first["status"], first["cursor"])


@given(st.permutations([*BRANCHED, ASKED]))
def test_a_cancel_is_remembered_whatever_came_first(order: list[dict[str, Any]]) -> None:
    """It was answered: neither a history that does not have it nor an end undoes it."""
    assert after(order)["cancel_requested"]
    assert not after([one for one in order if one is not ASKED])["cancel_requested"]


def test_a_cancel_whose_event_is_lost_is_told_by_the_log() -> None:
    """The log of a finished job says whether it had been asked."""
    assert after([LIFE[-1]], replace(OUTCOME, cancel_requested=True))["cancel_requested"]


def test_the_end_fills_in_what_it_does_not_carry() -> None:
    """Result and expiry come from the log; nothing follows an end."""
    record = after([*LIFE, event(10, "failed")])
    assert (record["result"], record["status"], record["run_at"]) == ("[1]", "succeeded", None)
    assert record["expires_at"] == datetime(2026, 1, 2, tzinfo=UTC)


@given(st.permutations(LIFE))
def test_the_beginning_is_known_whatever_came_first(order: list[dict[str, Any]]) -> None:
    """The end too: two recorders may take the events of a short job in any order."""
    assert after(order)["started_at"] == second(2)


@given(st.permutations(BRANCHED), st.sampled_from([OUTCOME, replace(OUTCOME, started_at=LIFE[1]["at"])]))
def test_the_beginning_is_that_of_the_first_history(order: list[dict[str, Any]], outcome: Outcome) -> None:
    """As the log has it: neither a history that branches nor a worker that hands the job back unmakes it."""
    assert after(order, outcome)["started_at"] == second(2)


@given(st.permutations(BRANCHED[:-1]))
def test_the_order_does_not_matter_when_the_history_branches(order: list[dict[str, Any]]) -> None:
    """Events of both histories may be taken by different recorders."""
    assert after(order) == after(BRANCHED[:-1])


def test_a_lost_beginning_is_told_by_the_log() -> None:
    """Nobody was given the event of the beginning: the log remembers it, and its word is what everybody was told."""
    told = replace(OUTCOME, started_at="2026-01-01T00:00:04.000Z")
    assert after([LIFE[0], LIFE[-1]], told)["started_at"] == second(4)
    assert after([LIFE[0], LIFE[-1]])["started_at"] is None
    assert after([*LIFE[:2], event(3, "cancelled", epoch="f", attempt=0)])["started_at"] == second(2)


def test_rubbish_is_no_event() -> None:
    """Nothing that cannot be applied gets as far as a record."""
    for wire in (
        None,
        {},
        {"type": "progress"},
        {"type": "end"},
        event(1, "x", cursor=":"),
        event(1, "x", at=99),
    ):
        assert lifecycle_event(wire) is None
