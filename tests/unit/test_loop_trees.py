"""Any tree of loops, bars and steps: percent never falls, and a process of its own changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from milepost import progress
from milepost.reporting import HERE, Place, Relay, Replay, Reporter
from milepost.reporting.tqdm import tqdm
from tests.support.sinks import Notes

KINDS = ("tqdm", "track", "manual", "step")
trees: st.SearchStrategy[Any] = st.recursive(
    st.just([]),
    lambda inner: st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.integers(0, 4),
            st.booleans(),
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["runs", "break", "raises"]),
            inner,
        ),
        max_size=3,
    ),
    max_leaves=8,
)


def walk(tree: Any, look: Callable[[], None]) -> None:
    """Run loops and steps as `tree` says, looking at the progress at every turn."""
    for kind, times, known, name, ends, inner in tree:
        look()
        with contextlib.suppress(LookupError):
            WALKS[kind](times, times if known else None, name, partial(_turn, ends, inner, look))


class _Break(Exception):
    """Leave the loop."""


def _turn(ends: str, inner: Any, look: Callable[[], None]) -> None:
    look()
    walk(inner, look)
    look()
    if ends == "raises":
        raise LookupError
    if ends == "break":
        raise _Break


def _loop(iterable: Any, turn: Callable[[], None]) -> None:
    for _ in iterable:
        try:
            turn()
        except _Break:
            break


def _tqdm(times: int, total: int | None, name: str, turn: Callable[[], None]) -> None:
    _loop(tqdm(range(times) if total is not None else iter(range(times)), desc=name), turn)


def _track(times: int, total: int | None, name: str, turn: Callable[[], None]) -> None:
    _loop(progress.track(iter(range(times)), total, name), turn)


def _manual(times: int, total: int | None, name: str, turn: Callable[[], None]) -> None:
    with tqdm(total=total, desc=name) as bar, contextlib.suppress(_Break):
        for _ in range(times):
            turn()
            bar.update()


def _step(times: int, total: int | None, name: str, turn: Callable[[], None]) -> None:
    with progress.step(name), contextlib.suppress(_Break):
        progress(0, total)
        for _ in range(times):
            turn()
            progress.advance()


WALKS: dict[str, Any] = {"tqdm": _tqdm, "track": _track, "manual": _manual, "step": _step}


@given(trees, st.dictionaries(st.sampled_from("abc"), st.floats(0, 10), max_size=3), st.booleans())
def test_percent_never_falls_in_any_tree_of_loops_and_steps(
    tree: Any, plan: dict[str, float], succeeded: bool
) -> None:
    """Below 100 until success, frozen on failure; and when all is left, the task is where it was."""
    reporter = Reporter(Notes(), plan)
    token = HERE.set(Place(reporter))
    place, last, now = HERE.get(), 0.0, 0.0

    def look() -> None:
        nonlocal last, now
        now += 0.1
        told = reporter.meter.read(now)
        assert told.percent is None or last <= told.percent < 100
        assert told.rate is None or told.rate >= 0
        assert told.eta_seconds is None or told.eta_seconds >= 0
        assert len({one.key for one in told.steps}) == len(told.steps)
        last = told.percent or last

    walk(tree, look)
    look()
    assert HERE.get() is place
    HERE.reset(token)
    end = reporter.meter.finish(now, succeeded=succeeded)
    assert end.percent == 100 if succeeded else end.percent in {last, None}
    assert all(one.status != "running" for one in end.steps)


@given(trees, st.dictionaries(st.sampled_from("abc"), st.floats(0, 10), max_size=3))
def test_loops_in_a_process_of_their_own_are_the_same(tree: Any, plan: dict[str, float]) -> None:
    """What is told through the relay makes the same steps, counts and percent."""
    near, far = Reporter(Notes(), plan), Reporter(Notes(), plan)
    replay = Replay(far)
    relay = Relay(replay.apply, plan=plan)
    for reporter in (near, relay.open()):
        token = HERE.set(Place(reporter))
        walk(tree, lambda: None)
        HERE.reset(token)
    relay.close()
    replay.close()
    here, there = (reporter.meter.finish(1.0, succeeded=False) for reporter in (near, far))
    assert (here.steps, here.step) == (there.steps, there.step)
    assert (here.current, here.total) == (there.current, there.total)
    assert near.meter.root.fraction() == far.meter.root.fraction()
