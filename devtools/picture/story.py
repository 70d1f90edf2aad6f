"""A run as a story: at which moment what is to be seen. Pure; times are seconds from the picture's beginning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devtools.picture.run import Asked, Run, Seen

LEAD, HOLD = 0.6, 3.4
"""Before the first word from the server, and after the last."""
RESUMED = "accent"
"""The tone of the one line that says how the reader came back."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line below the bar. `tone` is one word for its colour, empty for an event like all others."""

    at: float
    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What stands beside the name of the job, from `at` on."""

    at: float
    text: str
    tone: str


@dataclass(frozen=True, slots=True)
class Story:
    """`counts` are the words below the bar; `seen` and `done` how far reader and worker were, in percent.

    At `still_at` stands what is shown where nothing may move: the reader is back and catches up.
    """

    seconds: float
    lines: tuple[Line, ...]
    states: tuple[State, ...]
    counts: tuple[tuple[float, str], ...]
    seen: tuple[tuple[float, float], ...]
    done: tuple[tuple[float, float], ...]
    still_at: float


def tell(run: Run) -> Story:
    """Return the story of a run. Raises `ValueError` if the reader was not cut off, did not catch up or saw no end."""
    events = [one for one in run.reader if one.id is not None]
    if [one.type for one in events if one.type == "end"] != ["end"] or events[-1].type != "end":
        raise ValueError("The reader of this run saw no end. Record another one.")
    lost = next((one.at for one in run.reader if one.connection == "reconnecting"), None)
    if lost is None or not [one for one in events if one.at > lost]:
        raise ValueError("The reader of this run was not cut off. Record another one.")
    back = next(one.at for one in events if one.at > lost)
    lines = tuple(_lines(run, events, lost, back))
    return Story(
        seconds=round(LEAD + events[-1].at + HOLD, 2),
        lines=lines,
        states=(
            State(0, "Connecting", "muted"),
            State(LEAD + events[0].at, "Running", "accent"),
            State(LEAD + lost, "The connection was lost. Trying again.", "warning"),
            State(LEAD + back, "Running", "accent"),
            State(LEAD + events[-1].at, "Succeeded", "good"),
        ),
        counts=((0, ""), *((LEAD + one.at, _count(run, one)) for one in events)),
        seen=((0, 0), *((LEAD + one.at, one.percent) for one in events)),
        done=((0, 0), *((LEAD + max(0, one.at), one.percent) for one in run.worker)),
        still_at=LEAD + back,
    )


def _lines(run: Run, events: list[Seen], lost: float, back: float) -> Iterator[Line]:
    yield Line(0, _request(run, run.asked[0]), "muted")
    for one in events:
        if one.at < lost:
            yield Line(LEAD + one.at, _event(one))
    yield Line(LEAD + lost, "the connection is cut; the worker goes on", "warning")
    resumed = [one for one in run.asked if one.at <= back][-1]
    yield Line(LEAD + back, _request(run, resumed), RESUMED)
    for one in events:
        if one.at > lost:
            yield Line(LEAD + one.at, _event(one), "good" if one.type == "end" else "")


def _request(run: Run, asked: Asked) -> str:
    return f"GET {asked.address.replace(run.job_id, run.job_id[:8] + '...')}"


def _event(one: Seen) -> str:
    told = '"status":"succeeded"' if one.type == "end" else f'"percent":{one.percent:.1f}'
    return f"id: {one.id}   event: {one.type:8}   data: {{...,{told},...}}"


def _count(run: Run, one: Seen) -> str:
    return f"{one.current} of {run.total} {run.unit}"
