"""The laws of the fault suite can fail: a good story keeps all of them, and each spoilt one breaks its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from milepost.job import NO_PROGRESS
from tests.faults.laws import FOREVER, LAWS, breaches
from tests.faults.story import Cancel, Hurt, Story
from tests.faults.witness import Run, Witness, digest, runs_of

JOB_ID, EPOCH = "0190aaaa-0000-7000-8000-000000000001", "k3v9x2ab"
START = 1_900_000_000.0
FIRST, SECOND = 101, 202  # pids
RESULT = digest(f"run-{SECOND}", 1)
LOST = {"code": "worker_lost", "message": "Silent.", "type": None, "attempt": 1, "retryable": True}
NOTHING = NO_PROGRESS.to_wire()
GAP = {"type": "gap", "job_id": JOB_ID, "requested": f"{EPOCH}-3", "reason": "epoch"}


def at(seconds: float) -> str:
    moment = datetime.fromtimestamp(START + seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(seq: int, kind: str, when: float, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "job_id": JOB_ID, "seq": seq, "cursor": f"{EPOCH}-{seq}", "at": at(when), **fields}


def status(seq: int, when: float, to: str, before: str | None, attempt: int, **more: Any) -> dict[str, Any]:
    fields = {"run_at": None, "cancel_requested": False, "error": None, "worker": None} | more
    return event(seq, "status", when, status=to, previous=before, attempt=attempt, **fields)


def output(seq: int, when: float, pid: int, attempt: int) -> dict[str, Any]:
    data = {"pid": pid, "run": f"run-{pid}", "beat": 0, "digest": digest(f"run-{pid}", 1)}
    return event(seq, "output", when, attempt=attempt, index=0, data=data)


def end(seq: int, when: float, to: str = "succeeded", attempt: int = 2, **more: Any) -> dict[str, Any]:
    fields = {"result": RESULT, "result_omitted": False, "error": None} | more
    return event(seq, "end", when, status=to, attempt=attempt, progress=NOTHING, **fields)


def job(version: int, **changes: Any) -> dict[str, Any]:
    """The finished job."""
    whole = {
        "id": JOB_ID,
        "task": "f.work",
        "status": "succeeded",
        "done": True,
        "version": version,
        "attempt": 2,
        "max_attempts": 3,
        "progress": NOTHING,
        "result": RESULT,
        "error": None,
        "created_at": at(0),
        "started_at": at(1),
        "finished_at": at(9),
        "queue": "default",
        "priority": 0,
        "tags": [],
        "metadata": {},
    }
    return whole | changes


def good() -> Story:
    """A worker dies, another one runs the job."""
    history = [
        status(1, 0, "queued", None, 0),
        status(2, 1, "running", "queued", 1, worker=f"host-{FIRST}-abc123"),
        output(3, 2, FIRST, 1),
        event(4, "stalled", 4, attempt=1, heartbeat_at=at(3), recovered=False),
        status(5, 5, "retrying", "running", 1, run_at=at(5), error=LOST),
        status(6, 6, "running", "retrying", 2, worker=f"host-{SECOND}-abc123"),
        output(7, 7, SECOND, 2),
        end(8, 9),
    ]
    unborn = {"status": "queued", "done": False, "attempt": 0, "result": None}
    first = event(1, "snapshot", 0, job=job(1) | unborn | {"started_at": None, "finished_at": None})
    return Story(
        job_id=JOB_ID,
        name="a",
        history=history,
        seen=[first, *history[1:]],
        job=job(8),
        record=job(8),
        runs=(
            Run("a", "run-101", FIRST, START + 1.1),
            Run("a", "run-202", SECOND, START + 6.1, START + 8.9, digest=RESULT),
        ),
        polls=(poll(1, "queued"), poll(7, "running"), poll(8, "succeeded")),
        hurt=(Hurt(FIRST, START + 3, FOREVER),),
    )


def poll(version: int, status: str) -> dict[str, Any]:
    return {"version": version, "status": status, "done": status == "succeeded"}


def changed(story: Story, seq: int, **fields: Any) -> Story:
    """Change one event, in the log and on the stream."""

    def change(events: Any) -> list[Any]:
        return [e | fields if e["seq"] == seq and e["type"] != "snapshot" else e for e in events]

    return replace(story, history=change(story.history), seen=change(story.seen))


def history(story: Story, *events: dict[str, Any]) -> Story:
    return replace(story, history=[*story.history, *events])


def seen(story: Story, *events: dict[str, Any]) -> Story:
    return replace(story, seen=[*story.seen, *events])


def runs(story: Story, *runs: Run) -> Story:
    return replace(story, runs=tuple(runs))


def lost(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of an epoch that is no part of the history."""
    return {**event, "cursor": f"another-{event['seq']}"}


def said(run: str, beat: int) -> dict[str, Any]:
    return {"pid": SECOND, "run": run, "beat": beat, "digest": digest(run, beat + 1)}


def with_result(story: Story, result: str) -> Story:
    """The run, the log and the record agree on it, and some of what the run said is missing."""
    ended = replace(story.runs[1], digest=result)
    finished = job(8, result=result)
    return replace(
        changed(story, 8, result=result), job=finished, record=finished, runs=(story.runs[0], ended)
    )


HEALTHY = (Run("a", "run-101", FIRST, START + 1.1, START + 8), good().runs[1])

SPOILT: list[tuple[str, Callable[[Story], Story]]] = [
    ("one_end", lambda s: history(s, end(9, 9.5))),
    ("one_end", lambda s: history(s, output(9, 9.5, SECOND, 2))),
    ("one_end", lambda s: replace(s, history=s.history[:-1])),
    ("one_end", lambda s: replace(s, job=job(8, done=False, status="running"))),
    ("one_end", lambda s: seen(s, end(9, 9.5))),
    ("one_end", lambda s: replace(s, seen=s.seen[:-1])),
    ("dense", lambda s: replace(s, history=[*s.history[:2], *s.history[3:]])),
    ("dense", lambda s: replace(s, history=[*s.history[:3], *s.history[2:]])),
    ("legal", lambda s: changed(s, 2, status="retrying")),
    ("legal", lambda s: changed(s, 6, previous="queued")),
    ("counted", lambda s: changed(s, 6, attempt=3)),
    ("counted", lambda s: replace(s, job=job(8, max_attempts=1), record=job(8, max_attempts=1))),
    ("fenced", lambda s: changed(s, 7, data={"pid": FIRST, "run": "run-101", "beat": 3})),
    ("fenced", lambda s: changed(s, 7, attempt=1)),
    ("fenced", lambda s: replace(s, history=[*s.history[:5], output(6, 5.5, FIRST, 1), *s.history[6:]])),
    ("due", lambda s: changed(s, 5, run_at=at(7))),
    ("due", lambda s: replace(s, not_before=START + 2)),
    ("folded", lambda s: replace(s, job=job(8, result="other"), record=job(8, result="other"))),
    ("folded", lambda s: replace(s, job=job(8, stalled=True))),
    ("followed", lambda s: replace(s, seen=[*s.seen[:3], *s.seen[4:]])),
    ("followed", lambda s: replace(s, seen=[*s.seen[:3], *s.seen[2:]])),
    ("followed", lambda s: replace(s, seen=[*s.seen[:3], s.seen[0], *s.seen[3:]])),
    ("followed", lambda s: replace(s, seen=[*s.seen[:3], GAP, *s.seen[3:]])),
    ("followed", lambda s: replace(s, seen=list(s.history))),
    ("followed", lambda s: replace(s, seen=[*s.seen[:2], output(3, 2, SECOND, 1), *s.seen[3:]])),
    ("unambiguous", lambda s: replace(s, seen=[*s.seen[:2], output(3, 2, SECOND, 1), *s.seen[3:]])),
    ("unambiguous", lambda s: replace(s, seen=[*s.seen[:-2], lost(s.seen[-2]), s.seen[-1]])),
    ("unambiguous", lambda s: replace(s, losses=(START + 2,), seen=[*s.seen[:-1], end(8, 9, "failed")])),
    ("polled", lambda s: replace(s, polls=(*s.polls[:2], poll(6, "running"), s.polls[2]))),
    ("polled", lambda s: replace(s, polls=s.polls[:2])),
    ("polled", lambda s: replace(s, polls=(poll(8, "failed") | {"done": True},))),
    ("recorded", lambda s: replace(s, record=job(8, status="failed"))),
    ("recorded", lambda s: replace(s, record=job(8, done=False))),
    ("explained", lambda s: replace(s, allowed=frozenset({"cancelled"}))),
    ("digested", lambda s: changed(s, 7, data=s.history[6]["data"] | {"digest": "another"})),
    ("digested", lambda s: changed(s, 7, data=said("run-202", 1))),
    ("digested", lambda s: runs(s, s.runs[0], replace(s.runs[1], digest=digest("run-202", 2)))),
    ("digested", lambda s: with_result(s, digest("run-202", 2))),
    ("claimed", lambda s: runs(s, *s.runs, Run("a", "third", SECOND, START + 8))),
    ("claimed", lambda s: runs(s, Run("a", "early", FIRST, START + 0.5), s.runs[1])),
    ("claimed", lambda s: runs(s, Run("a", "stranger", 303, START + 1.1), s.runs[1])),
    ("leased", lambda s: replace(s, hurt=(), runs=HEALTHY)),
    ("leased", lambda s: replace(s, hurt=(Hurt(SECOND, START + 3, FOREVER),), runs=HEALTHY)),
    ("leased", lambda s: replace(s, hurt=(Hurt(FIRST, START + 4.9, FOREVER),))),
    ("spared", lambda s: replace(s, spared=True)),
    ("obeyed", lambda s: replace(s, cancels=(Cancel("cancelled", START + 10),))),
    ("obeyed", lambda s: replace(s, cancels=(Cancel("cancelled", START + 5.5),))),
]


def test_a_good_story_keeps_every_law() -> None:
    """A lost worker is no breach."""
    assert breaches(good()) == []


@pytest.mark.parametrize(("law", "spoil"), SPOILT, ids=[f"{n}-{law}" for n, (law, _) in enumerate(SPOILT)])
def test_a_spoilt_story_breaks_its_law(law: str, spoil: Callable[[Story], Story]) -> None:
    """The breach is told by the law it is of."""
    assert law in {breach.partition(":")[0] for breach in breaches(spoil(good()))}


def test_every_law_has_a_story_that_breaks_it() -> None:
    """A law that cannot fail would promise nothing."""
    assert {law for law, _ in SPOILT} | {"alone"} == set(LAWS)


def handed_back(first_ended: float | None) -> Story:
    """A worker leaves and hands the job back at 5 s; another one runs it from 6.1 s on."""
    story = changed(good(), 5, status="queued", attempt=0, run_at=None, error=None)
    story = changed(changed(changed(story, 6, previous="queued", attempt=1), 7, attempt=1), 8, attempt=1)
    ended = None if first_ended is None else START + first_ended
    once = replace(story, job=job(8, attempt=1), record=job(8, attempt=1), hurt=(), spared=True)
    return runs(once, Run("a", "run-101", FIRST, START + 1.1, ended), story.runs[1])


def test_a_job_that_is_handed_back_runs_elsewhere_only_when_it_has_stopped() -> None:
    """Whether the first run ended in time, too late, or never."""
    assert breaches(handed_back(4.9)) == []
    for late in (6.5, None):
        assert [breach.partition(":")[0] for breach in breaches(handed_back(late))] == ["alone"]


def test_a_frozen_worker_may_run_into_the_next_attempt() -> None:
    """It does not know that its lease is lost; nobody can tell it."""
    frozen = replace(good(), hurt=(Hurt(FIRST, START + 2.5, START + 7),))
    assert breaches(runs(frozen, replace(frozen.runs[0], ended=START + 7.2), frozen.runs[1])) == []


def test_what_redis_forgot_excuses_what_cannot_be_known() -> None:
    """A run whose claim is gone, a run beside the one that was forgotten, a gap for the reader."""
    story = replace(good(), losses=(START + 0.8,), hurt=())
    story = runs(story, Run("a", "forgotten", 303, START + 0.2, START + 6.5), *story.runs)
    again = [story.seen[0], story.seen[1], GAP, *story.seen]
    assert breaches(replace(story, seen=again)) == []


def test_the_witness_pairs_what_a_run_said() -> None:
    """A run without a last word has no end; one that announces its exit ends there."""
    lines = [
        {"what": "start", "job": "a", "run": "1", "pid": 7, "t": 1.0},
        {"what": "start", "job": "a", "run": "2", "pid": 8, "t": 2.0},
        {"what": "start", "job": "b", "run": "3", "pid": 8, "t": 2.5},
        {"what": "stop", "job": "a", "run": "2", "pid": 8, "t": 3.0, "digest": "d"},
        {"what": "exit", "job": "b", "run": "3", "pid": 8, "t": 4.0},
    ]
    assert runs_of(lines) == {
        "a": [Run("a", "1", 7, 1.0), Run("a", "2", 8, 2.0, 3.0, digest="d")],
        "b": [Run("b", "3", 8, 2.5, 4.0, exits=True)],
    }


def test_the_witness_is_read_as_it_grows(tmp_path: Path) -> None:
    """Half a line waits for its other half; what was judged is forgotten, also what is told of it later."""
    path = tmp_path / "witness.jsonl"
    witness = Witness(path)
    assert witness.runs() == {}
    start = json.dumps({"what": "start", "job": "a", "run": "1", "pid": 7, "t": 1.0})
    path.write_text(start[:20])
    assert witness.runs() == {}
    path.write_text(start + "\n")
    assert witness.runs() == {"a": [Run("a", "1", 7, 1.0)]}
    witness.forget(["a"])
    assert witness.runs() == {}
