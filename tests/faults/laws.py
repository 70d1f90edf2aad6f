"""What must hold for every job, whatever died: pure checks of a finished story, each a generator of breaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import reduce
from itertools import pairwise

from milepost.events import Event, from_wire
from milepost.fold import fold
from milepost.job import NEXT, Job, Status, parse_status
from tests.faults.story import Claim, Story, Wire, claims_of, seconds, statuses_of
from tests.faults.witness import Run, digest

Law = Callable[[Story], Iterator[str]]

SLACK_SECONDS = 0.02
"""Events are dated in whole milliseconds, and the witness's clock is compared with Redis's once a round."""

FOREVER = float("inf")
REPORTS = frozenset({"progress", "log", "output"})


# --- the history ---------------------------------------------------------------------------------


def one_end(story: Story) -> Iterator[str]:
    """Exactly one `end`, and nothing after it: in the log, and for whoever reads the stream."""
    for who, events in _tellings(story):
        ends = [n for n, event in enumerate(events) if event["type"] == "end"]
        if len(ends) != 1:
            yield f"{who} has {len(ends)} ends"
        elif ends[0] != len(events) - 1:
            yield f"{who} goes on after the end: {[e['type'] for e in events[ends[0] :]]}"


def dense(story: Story) -> Iterator[str]:
    """Events are numbered 1, 2, 3 without a hole."""
    seqs = [event["seq"] for event in story.history]
    if seqs != list(range(1, len(seqs) + 1)):
        yield f"the history is numbered {seqs}"


def legal(story: Story) -> Iterator[str]:
    """Every status may follow the one before it, and says which one that was."""
    for last, event in _steps(story):
        before = Status(last["status"]) if last else None
        status = Status(event["status"])
        asked = bool(event.get("cancel_requested"))
        if before is not None and status not in NEXT[before] and not (asked and status is before):
            yield f"{status} at {event['seq']} follows {before}"
        if event["type"] == "status" and parse_status(event["previous"] or "") != (before or ""):
            yield f"{status} at {event['seq']} says that {event['previous']} was before, not {before}"


def counted(story: Story) -> Iterator[str]:
    """Attempts begin at 1 and go up one by one, never above the most; handing back takes one away again."""
    most = story.job["max_attempts"]
    for last, event in _steps(story):
        claimed = event["status"] == "running" and event.get("previous") != "running"
        handed_back = event["status"] == "queued" and event.get("previous") == "running"
        # A history that Redis has lost begins again with the attempts that the records know of.
        used = last["attempt"] if last else event["attempt"] - claimed if story.losses else 0
        expected = used + claimed - handed_back
        if event["attempt"] != expected:
            yield f"{event['status']} at {event['seq']} is of attempt {event['attempt']}, not {expected}"
        if event["attempt"] > most:
            yield f"attempt {event['attempt']} of at most {most} at {event['seq']}"


def _steps(story: Story) -> Iterator[tuple[Wire | None, Wire]]:
    """Return every status with the one before it. What SQL gave back to Redis follows from nothing Redis knows."""
    last: Wire | None = None
    for event in statuses_of(story.history):
        given_back = story.losses and last and event["type"] == "end" and _epoch(last) != _epoch(event)
        if not given_back:
            yield last, event
        last = event


def _epoch(event: Wire) -> str:
    return str(event["cursor"]).partition("-")[0]


def fenced(story: Story) -> Iterator[str]:
    """Only the attempt that has the job is heard: reports come while it runs, from its process."""
    holder: Claim | None = None
    claims = {claim.seq: claim for claim in claims_of(story.history)}
    for event in story.history:
        if event["type"] in {"status", "end"} and event["status"] != "running":
            holder = None
        holder = claims.get(event["seq"], holder)
        if event["type"] not in REPORTS:
            continue
        if holder is None:
            yield f"{event['type']} at {event['seq']} while nobody had the job"
        elif event["attempt"] != holder.attempt:
            yield f"{event['type']} at {event['seq']} of attempt {event['attempt']} during {holder.attempt}"
        elif event["type"] == "output" and event["data"]["pid"] != holder.pid:
            yield f"output at {event['seq']} of process {event['data']['pid']}; {holder.pid} has the job"


def due(story: Story) -> Iterator[str]:
    """No attempt begins before its time."""
    run_at: str | None = None
    for event in statuses_of(story.history):
        early = run_at is not None and seconds(event["at"]) < seconds(run_at)
        if event["status"] == "running" and early:
            yield f"it ran at {event['at']}, before {run_at}"
        run_at = event.get("run_at")
    for run in story.runs:
        if story.not_before is not None and run.started < story.not_before - SLACK_SECONDS:
            yield f"run {run.token} began {story.not_before - run.started:.3f} s before it was asked to"


# --- what others see -----------------------------------------------------------------------------


def folded(story: Story) -> Iterator[str]:
    """The job is what its events add up to: all of them, and those that the reader was sent."""
    expected = _plain(Job.from_wire(story.job))
    names = [field.name for field in fields(Job)]
    if story.losses:  # what is given back to Redis has the outcome that it had, and another place in history
        names = ["status", "done", "attempt", "result", "error"]
    for who, wires in _tellings(story):
        if story.losses and who == "the stream" and (_ended_before_the_loss(story) or _ended_twice(story)):
            continue  # nobody may know any more; what SQL knows is the matter of `recorded`
        got = _plain(
            reduce(fold, (e for w in wires if isinstance(e := from_wire(w), Event)), _blank(story.job))
        )
        for name in names:
            if getattr(got, name) != getattr(expected, name):
                yield (
                    f"the events of {who} add up to {name} {getattr(got, name)!r}, "
                    f"and the job has {getattr(expected, name)!r}"
                )


def followed(story: Story) -> Iterator[str]:
    """A reader gets a snapshot, then what follows it once and in order; again after a gap, and only then."""
    history = {event["seq"]: event for event in story.history}
    last: int | None = None
    gap = False
    for event in story.seen:
        kind = event["type"]
        if kind == "gap":
            gap = True
            if not story.losses:
                yield f"a gap ({event['reason']}) although nothing was lost"
            continue
        if (kind == "snapshot") != (last is None or gap):
            yield f"{kind} at {event['seq']}, where {'an event' if kind == 'snapshot' else 'a snapshot'} was due"
        elif kind != "snapshot" and last is not None:
            missed = range(last + 1, event["seq"])
            if event["seq"] <= last:
                yield f"{kind} at {event['seq']} after {last}"
            # A slow reader is spared progress that is out of date, and nothing else.
            elif not story.losses and any(history[seq]["type"] != "progress" for seq in missed):
                yield f"a hole between {last} and {event['seq']}"
            if not story.losses and _read(history.get(event["seq"])) != _read(event):
                yield f"{kind} at {event['seq']} is not what the log has"
        last, gap = event["seq"], False


def unambiguous(story: Story) -> Iterator[str]:
    """A place in a history has one content, for every reader and for ever; another history is another epoch.

    What Redis had shown and then lost is never replaced under the same number: who has seen it gets a gap and a
    snapshot. Who has not may go on into the other epoch.
    """
    known = {event["cursor"]: event for event in story.history}
    for event in story.seen:
        if event["type"] in {"gap", "snapshot"}:
            continue
        before = known.setdefault(event["cursor"], event)
        if _gist(before) != _gist(event):
            yield f"{event['cursor']} was seen as {_gist(event)} and is {_gist(before)}"
    for one, next_one in pairwise(event for event in story.seen if event["type"] != "gap"):
        if next_one["type"] == "snapshot" or _epoch(one) == _epoch(next_one):
            continue
        if story.history and not any(event["cursor"] == one["cursor"] for event in story.history):
            yield f"{next_one['cursor']} follows {one['cursor']}, which is lost, without a snapshot"


def _gist(event: Wire) -> Wire:
    """Return what cannot change. The end of a job that only SQL remembers has lost the moment it was told."""
    kept = ("type", "status", "attempt", "data", "message", "result", "progress")
    return {name: event[name] for name in kept if event.get(name) is not None}


def polled(story: Story) -> Iterator[str]:
    """Who polls never goes back: an answer is not behind what an earlier one had, whichever API gives it."""
    for one, next_one in pairwise(story.polls):
        if not story.losses and next_one["version"] < one["version"]:
            yield f"version {next_one['version']} was told after {one['version']}"
    for last in story.polls[-1:]:
        if not last["done"] or last["status"] != story.job["status"]:
            yield f"the last answer said {last['status']}, and the job {story.job['status']}"


def recorded(story: Story) -> Iterator[str]:
    """SQL knows how it ended, and so does everybody who asks."""
    for name in ("done", "status", "attempt", "result"):
        if story.record.get(name) != story.job.get(name):
            yield f"the record has {name} {story.record.get(name)!r}, the job {story.job.get(name)!r}"


def explained(story: Story) -> Iterator[str]:
    """It ended in a way that this fault explains."""
    if story.outcome not in story.allowed:
        yield f"it ended as {story.outcome}: {story.job.get('error')}"


# --- what the witness saw ------------------------------------------------------------------------


def digested(story: Story) -> Iterator[str]:
    """Every piece of output is what its run said, in its order; the result is what a run that ended came to."""
    for who, events in _tellings(story):
        for event in events:
            if event["type"] == "output" and not _is_right(event["data"]):
                yield f"the output at {event['seq']} of {who} is not what its run said: {event['data']}"
    beats: dict[str, list[int]] = {}
    for event in story.history:
        if event["type"] == "output":
            beats.setdefault(event["data"]["run"], []).append(event["data"]["beat"])
    for token, said in beats.items():
        if not story.losses and said != list(range(len(said))):
            yield f"run {token} is told with the beats {said}"
    if story.job["status"] != "succeeded":
        return
    result = story.job["result"]
    came = [run for run in story.runs if run.digest == result]
    if not came:
        yield f"the result {result!r} is that of no run: {[run.digest for run in story.runs]}"
    elif not story.losses and digest(came[0].token, len(beats.get(came[0].token, ()))) != result:
        yield f"run {came[0].token} said more than the {len(beats.get(came[0].token, ()))} beats that are told"


def _is_right(said: Wire) -> bool:
    return bool(said.get("digest") == digest(said["run"], said["beat"] + 1))


def claimed(story: Story) -> Iterator[str]:
    """Nothing runs without having claimed the job, and no claim runs twice."""
    if story.losses:
        return  # the claim may be among what Redis forgot
    for run, claim in matched(story):
        if claim is None:
            yield f"run {run.token} of process {run.pid} had not claimed the job"


def alone(story: Story) -> Iterator[str]:
    """No two runs at the same time while the lease of the first holds."""
    lost = [event for event in story.history if _is_lease_lost(event)]
    for (first, claim), (second, _) in pairwise(matched(story)):
        if second.started >= _ended(first, story):
            continue
        taken = claim is not None and any(
            event["seq"] > claim.seq and seconds(event["at"]) <= second.started + SLACK_SECONDS
            for event in lost
        )
        forgotten = any(first.started - SLACK_SECONDS <= at <= second.started for at in story.losses)
        if not taken and not forgotten:
            yield f"run {second.token} began while {first.token} still ran, and its lease held"


def leased(story: Story) -> Iterator[str]:
    """A lease is lost by a worker that was dead or stopped for as long as it lasts, and by nobody else."""
    for event in story.history:
        if not _is_lease_lost(event) or story.losses:
            continue
        before = [claim for claim in claims_of(story.history) if claim.seq < event["seq"]]
        if not before:
            yield f"a lease that nobody had was lost at {event['seq']}"
            continue
        claim, at = before[-1], seconds(event["at"])
        # The last heartbeat before the fault may be this old; a second one may have been on its way.
        shortest = story.lease_seconds - 2 * story.heartbeat_seconds
        if not any(
            hurt.pid == claim.pid and hurt.since + shortest <= at and hurt.until >= claim.at
            for hurt in story.hurt
        ):
            yield f"attempt {claim.attempt} of process {claim.pid} lost its lease at {event['seq']} for no reason"


def spared(story: Story) -> Iterator[str]:
    """What is no fault of the task's worker costs no attempt: deploys, pauses, lost replies, blocked loops."""
    if story.spared:
        retries = [event["seq"] for event in story.history if event.get("status") == "retrying"]
        if retries or story.job["attempt"] > 1:
            yield f"it took {story.job['attempt']} attempts, with retries at {retries}"


def obeyed(story: Story) -> Iterator[str]:
    """A cancel that was answered `cancelled` has ended the job: it does not run, nor does it end otherwise."""
    for cancel in story.cancels:
        if cancel.answer != "cancelled" or story.losses:
            continue
        if story.outcome != "cancelled":
            yield f"it was cancelled and ended as {story.outcome}"
        for run in story.runs:
            frozen = any(hurt.pid == run.pid and hurt.since <= cancel.at <= hurt.until for hurt in story.hurt)
            if run.started > cancel.at + SLACK_SECONDS and not frozen:
                yield f"run {run.token} began {run.started - cancel.at:.3f} s after the job was cancelled"


LAWS: Mapping[str, Law] = {
    law.__name__: law
    for law in (
        *(one_end, dense, legal, counted, fenced, due),
        *(folded, followed, unambiguous, polled, recorded, explained),
        *(digested, claimed, alone, leased, spared, obeyed),
    )
}


def breaches(story: Story) -> list[str]:
    """Return every breach of every law, with its name."""
    if not story.job.get("done"):
        return [f"one_end: it has not ended; it is {story.job.get('status')}"]
    return [f"{name}: {breach}" for name, law in LAWS.items() for breach in law(story)]


def _read(wire: Wire | None) -> object:
    """Return what a client makes of an event: fields that are left out have their defaults."""
    return None if wire is None else from_wire(wire)


# --- helpers -------------------------------------------------------------------------------------


def matched(story: Story) -> list[tuple[Run, Claim | None]]:
    """Return every run with the claim that it came from: the latest of its process before it began."""
    free: list[Claim] = claims_of(story.history)
    pairs: list[tuple[Run, Claim | None]] = []
    for run in story.runs:
        fitting = [c for c in free if c.pid == run.pid and c.at <= run.started + SLACK_SECONDS]
        claim = fitting[-1] if fitting else None
        if claim is not None:
            free.remove(claim)
        pairs.append((run, claim))
    return pairs


def _tellings(story: Story) -> Iterator[tuple[str, Sequence[Wire]]]:
    """Who tells the story. The log may have lost all of a job that was done; then SQL alone has its outcome."""
    if story.history or not story.losses:
        yield "the log", story.history
    yield "the stream", story.seen


def _ended_before_the_loss(story: Story) -> bool:
    return bool(story.seen) and seconds(story.seen[-1]["at"]) <= max(story.losses)


def _ended_twice(story: Story) -> bool:
    """Redis lost an end, and the job came to another before anybody could stop it. The recorded one counts."""
    return sum(run.digest != "" for run in story.runs) > 1


def _ended(run: Run, story: Story) -> float:
    if run.ended is not None:
        return run.ended  # also after its worker's death, if its process outlived it
    return min((h.since for h in story.hurt if h.pid == run.pid and h.until == FOREVER), default=FOREVER)


def _is_lease_lost(event: Wire) -> bool:
    return event["type"] in {"status", "end"} and (event.get("error") or {}).get("code") == "worker_lost"


def _blank(job: Wire) -> Job:
    """Return the job before its first event: what no event tells."""
    kept = ("id", "task", "queue", "priority", "max_attempts", "tags", "metadata", "created_at")
    return Job.from_wire({name: job[name] for name in kept})


def _plain(job: Job) -> Job:
    """Return the job without what no event carries: heartbeats, when it is forgotten, its place in the queue."""
    return replace(job, heartbeat_at=None, expires_at=None, queue_position=None)
