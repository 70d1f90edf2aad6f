"""What a reader remembers and decides, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.client.backoff import Backoff
from milepost.client.errors import BadAnswer, ClientError, Unreachable, refusal
from milepost.client.follower import FRAME_LIMIT_BYTES, Follower, closed
from milepost.codec import encode_frame
from milepost.errors import JobNotFound
from milepost.events import Gap, Ping, Reconnect, Snapshot
from milepost.job import Status
from tests.support import story

STORY = story.whole_story()


class Clock:
    """Seconds as the test sets them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def follower(after: str | None = None, **more) -> Follower:
    backoff = Backoff(base_seconds=1.0, cap_seconds=30.0, chance=lambda: 0.5)
    return Follower(story.JOB_ID, after, **{"backoff": backoff, "clock": Clock(), **more})


def connect(reader: Follower, body: bytes) -> list:
    """One connection that brings `body`; returns the events."""
    reader.headers()
    reader.opened("text/event-stream; charset=utf-8")
    return reader.feed(body)


def after(cursor: str) -> list:
    """What a correct server sends to a reader with this cursor."""
    return [event for event in STORY if event.seq > int(cursor.split("-")[1])] if cursor else STORY


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_cut_anywhere_each_event_is_seen_once_and_in_order(cuts: list[int]) -> None:
    """Wherever connections are cut, the reader sees every event exactly once."""
    reader, seen = follower(), []
    for cut in [*cuts, None]:
        if not reader.ended:
            seen += connect(reader, story.stream(*after(reader.cursor))[:cut])

    assert seen == STORY
    assert reader.ended


def test_cut_at_every_single_byte() -> None:
    """The same for each byte of the whole run, one cut each."""
    whole = story.stream(*STORY, retry_ms=2000)
    for cut in range(len(whole)):
        reader = follower()
        seen = connect(reader, whole[:cut])
        if not reader.ended:
            seen += connect(reader, story.stream(*after(reader.cursor)))
        assert seen == STORY, f"cut at byte {cut}"


def test_a_server_that_forgets_the_cursor_repeats_nothing() -> None:
    """Events at or before the cursor are dropped: a proxy may strip Last-Event-ID."""
    reader = follower()
    connect(reader, story.stream(*STORY[:4]))

    again = connect(reader, story.stream(*STORY[1:]))

    assert again == STORY[4:]
    assert reader.cursor == STORY[-1].cursor


def test_the_first_connection_sends_no_cursor_and_the_next_one_the_last() -> None:
    """`Last-Event-ID` is the id of the last whole event."""
    reader = follower()
    assert "Last-Event-ID" not in reader.headers()
    reader.feed(story.stream(*STORY[:3]) + story.frame(STORY[3])[:-1])
    assert reader.headers()["Last-Event-ID"] == STORY[2].cursor


def test_a_given_cursor_is_sent_at_once() -> None:
    """Following after a cursor asks for what came later."""
    assert follower("k3v9x2ab-4").headers()["Last-Event-ID"] == "k3v9x2ab-4"


def test_a_gap_is_told_and_its_snapshot_replaces_everything() -> None:
    """After a gap, seq may start again in a new epoch and nothing of it is taken for old."""
    reader = follower()
    connect(reader, story.stream(*STORY[:5]))
    gap = Gap(job_id=story.JOB_ID, requested=reader.cursor, reason="epoch")
    new = [story.snapshot(1, "neweproc", attempt=2), story.progressed(2, 1, epoch="neweproc")]

    assert connect(reader, story.stream(gap, *new)) == [gap, *new]
    assert reader.cursor == "neweproc-2"


def test_a_ping_is_not_an_event_and_keeps_the_cursor() -> None:
    """Pings keep the connection, nothing else."""
    reader = follower()
    connect(reader, story.stream(*STORY[:2]))
    assert connect(reader, story.stream(Ping(at=story.AT))) == []
    assert reader.cursor == STORY[1].cursor


def test_an_unknown_event_is_passed_over_and_not_asked_for_again() -> None:
    """What a newer server sends moves the cursor like every event."""
    reader = follower()
    seen = connect(
        reader, story.stream(STORY[0]) + encode_frame("confetti", b'{"type":"confetti"}', "k3v9x2ab-2")
    )
    assert seen == [STORY[0]]
    assert reader.cursor == "k3v9x2ab-2"


def test_nothing_after_the_end_is_an_event() -> None:
    """`end` is the last one, whatever else the same bytes hold."""
    assert connect(follower(), story.stream(*STORY, story.progressed(8, 1))) == STORY


def test_the_job_of_a_204_is_the_last_thing_seen() -> None:
    """A reader whose cursor is at the end gets the job once and is done."""
    reader = follower("k3v9x2ab-7")
    event = reader.already_ended(story.job(status=Status.SUCCEEDED, done=True, version=7))
    assert isinstance(event, Snapshot)
    assert reader.ended


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409, 410, 422])
def test_what_waiting_cannot_mend_is_raised(status: int) -> None:
    """A refusal is an answer."""
    with pytest.raises(ClientError) as raised:
        follower().lost(refusal(status, {}, b""))
    assert raised.value.status == status  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_waited_for(status: int) -> None:
    """These statuses lead to another connection."""
    assert follower().lost(refusal(status, {}, b"")) == 0.5


def test_waits_double_up_to_the_cap_and_start_anew_when_something_is_heard() -> None:
    """Full jitter: half (the chance of this test) of 1, 2, 4 ... 30 seconds."""
    reader = follower()
    assert [reader.lost(closed()) for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    connect(reader, story.stream(Ping(at=story.AT)))
    assert reader.lost(closed()) == 0.5


def test_a_connection_that_says_nothing_does_not_shorten_the_wait() -> None:
    """A server that accepts and closes at once is no better than none."""
    reader = follower()
    reader.lost(closed())
    connect(reader, b"")
    assert reader.lost(closed()) == 1.0


def test_retry_of_the_server_is_the_base_of_the_waits() -> None:
    """`retry: 4000` means around four seconds, and doubled from there."""
    reader = follower()
    connect(reader, b"retry: 4000\n\n")
    assert [reader.lost(closed()) for _ in range(2)] == [2.0, 4.0]


def test_retry_after_is_honoured_with_jitter_on_top() -> None:
    """Those who were told the same time do not come back in the same moment."""
    assert follower().lost(refusal(503, {"retry-after": "7"}, b"")) == 7.5


def test_reconnect_names_its_own_wait_once() -> None:
    """A draining server spreads its readers itself; the next loss is waited for as usual."""
    reader = follower()
    connect(reader, story.stream(STORY[0], Reconnect(reason="shutdown", retry_ms=1234)))
    assert [reader.lost(closed()), reader.lost(closed())] == [1.234, 0.5]


def test_giving_up_is_counted_from_the_last_byte_heard() -> None:
    """An hour of silence in pieces is not a minute of silence."""
    clock = Clock()
    reader = follower(clock=clock, give_up_seconds=60)
    clock.now += 59
    reader.lost(closed())
    connect(reader, b": alive\n\n")
    clock.now += 59
    reader.lost(closed())
    clock.now += 1
    with pytest.raises(Unreachable):
        reader.lost(closed())


@pytest.mark.parametrize("data", [b"{", b"[]", b"null", b'{"type":"progress"}', b'{"type":"end","job":7}'])
def test_an_event_that_cannot_be_read_is_said_so(data: bytes) -> None:
    """Garbage is not skipped: what it stood for would be lost in silence."""
    with pytest.raises(BadAnswer, match="cannot be read"):
        connect(follower(), encode_frame("progress", data, "k3v9x2ab-1"))


def test_a_page_instead_of_a_stream_is_said_so() -> None:
    """A login page of a proxy is no stream."""
    with pytest.raises(BadAnswer, match="text/html"):
        follower().opened("text/html; charset=utf-8")


def test_an_event_without_an_end_does_not_fill_the_memory() -> None:
    """A stream that never finishes an event is cut off."""
    reader = follower()
    piece = b"x" * (8 * 1024 * 1024)
    for _ in range(FRAME_LIMIT_BYTES // len(piece)):
        reader.feed(piece)
    with pytest.raises(BadAnswer, match="without an end"):
        reader.feed(piece)


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "a?b", "é", "x" * 65])
def test_what_can_be_no_id_is_not_sent(job_id: str) -> None:
    """An id becomes part of a path."""
    with pytest.raises(JobNotFound):
        Follower(job_id, backoff=Backoff(), clock=Clock())
