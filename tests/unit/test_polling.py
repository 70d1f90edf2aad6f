"""Long-poll without a server: what one answer holds, and where the next one begins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from milepost_api.hub import Frame
from milepost_api.hub.frames import DEGRADED, control, durable, gap, reconnect, standing
from milepost_api.polling import Asked, Mark, collect, unless_gone

from milepost.codec import Cursor, dumps
from milepost.events import Ping
from milepost.job import Job, Waiting

JOB = "job-1"


class Script:
    """A source that says what the test wrote down, then nothing."""

    def __init__(self, *batches: Sequence[Frame]) -> None:
        self.batches = list(batches)
        self.finished = False

    async def next(self, timeout_seconds: float) -> Sequence[Frame]:
        if not self.batches:
            return []
        batch = self.batches.pop(0)
        self.finished = batch[-1].is_end
        return batch


def event(seq: int, kind: str = "log") -> Frame:
    data = dumps({"type": kind, "job_id": JOB, "seq": seq, "cursor": f"e-{seq}"}).encode()
    return durable(Cursor("e", seq), kind, data)


def waits(position: int, reason: str = "workers_busy") -> Frame:
    return standing(
        Job(id=JOB, task="t", queue_position=position, waiting=Waiting(reason=reason, message="...")), "now"
    )


def asked(after: str | None = None, **more: Any) -> Asked:
    return Asked(
        **{"after": Mark.parse(after), "wait": 0.0, "gather": 0.0, "limit": 100, "kinds": None, **more}
    )


async def answered(source: Script, wanted: Asked) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await collect(source, wanted)).to_json())
    return answer


def seqs(answer: dict[str, Any]) -> list[int | None]:
    return [item.get("seq") for item in answer["items"]]


async def test_what_there_is_is_answered_at_once() -> None:
    """One delivery is one answer; the rest is for the next poll."""
    script = Script([event(3), event(4)], [event(5)])
    answer = await answered(script, asked("e-2", wait=60))
    assert (seqs(answer), answer["next"]) == ([3, 4], "e-4")
    assert (answer["more"], answer["done"], answer["gap"]) == (False, False, None)
    assert script.batches == [[event(5)]]


async def test_nothing_is_an_answer_that_goes_on_where_it_was() -> None:
    """As a stream sends a ping."""
    answer = await answered(Script(), asked("e-2~abc"))
    assert answer == {"items": [], "next": "e-2~abc", "more": False, "gap": None, "done": False}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
async def test_a_limit_cuts_and_nothing_is_lost(limit: int) -> None:
    """The next one begins after the last that was told."""
    history = [event(seq) for seq in range(3, 9)]
    answer = await answered(Script(history), asked("e-2", limit=limit))
    told = min(limit, 6)
    assert seqs(answer) == list(range(3, 3 + told))
    assert (answer["next"], answer["more"]) == (f"e-{2 + told}", told < 6)


async def test_a_gap_is_never_told_alone() -> None:
    """A poller that was given only the gap would ask with the same cursor for ever."""
    frames = [gap(JOB, "x-1", "epoch"), event(7, "snapshot"), event(8)]
    answer = await answered(Script(frames), asked("x-1", limit=1))
    assert [item["type"] for item in answer["items"]] == ["gap", "snapshot"]
    assert (answer["gap"], answer["next"], answer["more"]) == ("epoch", "e-7", True)


async def test_a_goodbye_and_the_end_are_the_last_words() -> None:
    """`done` is for the end alone."""
    bye = await answered(Script([event(3), reconnect("shutdown", 100)]), asked("e-2", wait=60))
    assert [item["type"] for item in bye["items"]] == ["log", "reconnect"]
    assert (bye["done"], bye["next"]) == (False, "e-3")
    assert (await answered(Script([event(3, "end")]), asked("e-2", wait=60)))["done"] is True


async def test_where_a_job_waits_is_told_once() -> None:
    """The mark remembers what the poller was told; without it every answer would come at once, with the same."""
    first = await answered(Script([waits(3)]), asked("e-1", wait=60))
    assert [item["queue_position"] for item in first["items"]] == [3]
    again = await answered(Script([waits(3)]), asked(first["next"], wait=60))
    assert (again["items"], again["next"]) == ([], first["next"])
    moved = await answered(Script([waits(3)], [waits(2)]), asked(first["next"], wait=60))
    assert [item["queue_position"] for item in moved["items"]] == [2]
    begun = await answered(Script([event(2, "status")]), asked(moved["next"], wait=60))
    assert (begun["next"].split("~")[0], begun["next"] != moved["next"]) == ("e-2", True)


async def test_the_cursor_moves_past_what_was_not_wanted() -> None:
    """Or a filter would read the same history again with every poll, until it is trimmed."""
    script = Script([event(3, "progress")], [event(4, "progress")])
    answer = await answered(script, asked("e-2", wait=60, kinds=frozenset({"log"})))
    assert (answer["items"], answer["next"]) == ([], "e-4")


async def test_progress_is_gathered_until_the_interval_is_over() -> None:
    """Of several the last is told, with everything else; and the end does not wait."""
    script = Script([event(3, "progress"), event(4)], [event(5, "progress")], [event(6, "end")])
    answer = await answered(script, asked("e-2", wait=60, gather=60))
    assert [item["type"] for item in answer["items"]] == ["log", "progress", "end"]


async def test_comments_have_no_place_in_it() -> None:
    """What is for people who look at bytes is no event."""
    answer = await answered(Script([DEGRADED], [event(3)]), asked("e-2", wait=60))
    assert seqs(answer) == [3]


async def test_who_hangs_up_is_not_waited_for() -> None:
    """The work is ended, whatever it waits for."""
    ended = asyncio.Event()

    async def for_ever() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    messages = iter([{"type": "http.request"}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    assert await unless_gone(receive, for_ever()) is None
    assert ended.is_set()


async def test_what_goes_wrong_is_told() -> None:
    """An error of the work is the caller's to see."""

    async def fails() -> Any:
        raise LookupError("x")

    async def receive() -> Any:
        return await asyncio.Event().wait()

    with pytest.raises(LookupError):
        await unless_gone(receive, fails())


@pytest.mark.parametrize("text", ["", "~", "e-1", "e-1~", "~x", "a~b~c", "\u2028"])
def test_any_text_is_some_mark(text: str) -> None:
    """What is no cursor is told as a gap by those who know the history."""
    mark = Mark.parse(text)
    assert "~" not in (mark.cursor or "")
    assert Mark.parse(str(mark)) == mark


def test_a_control_event_moves_nothing() -> None:
    """It has no place in the history."""
    assert Mark.parse("e-1").moved_by([control(Ping(at="now"))]) == Mark("e-1")
