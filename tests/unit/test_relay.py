"""Reports from another process: what is said into a relay is what the attempt's own reporter hears."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost import progress
from milepost.errors import BadReport, BrokenRelay, StoreUnavailable
from milepost.reporting import HERE, Place, Relay, Replay, Reporter, Stopped, frames


class Sink:
    """Writes down what arrives, with where the bar stood."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.reporter: Reporter

    def changed(self) -> None:
        self.reporter.dirty = False

    def milestone(self) -> None:
        self.lines.append([(step.key, step.status) for step in self.reporter.meter.read(0).steps])

    def log(self, level: str, message: str, source: str | None) -> None:
        self.lines.append((level, message, source))

    def output(self, data: Any) -> None:
        self.lines.append(data)

    def checkpoint(self, value: str) -> None:
        self.lines.append(("checkpoint", value))


@pytest.fixture
def near() -> Reporter:
    return heard()


def heard() -> Reporter:
    sink = Sink()
    sink.reporter = Reporter(sink)
    return sink.reporter


def lines(reporter: Reporter) -> list[Any]:
    assert isinstance(reporter.sink, Sink)
    return reporter.sink.lines


class Oops(Exception):
    pass


@contextmanager
def inside(reporter: Reporter) -> Iterator[Reporter]:
    token = HERE.set(Place(reporter))
    try:
        yield reporter
    finally:
        HERE.reset(token)


@contextmanager
def relayed(near: Reporter) -> Iterator[Reporter]:
    """Be in the other process: what is reported inside has arrived when the block ends."""
    relay = Relay(Replay(near).apply)
    with inside(relay.open()) as far:
        yield far
    relay.close()


def shown(reporter: Reporter) -> Any:
    return reporter.meter.read(0)


def test_a_task_is_seen_as_if_it_ran_here(near: Reporter) -> None:
    """Plans, steps, steps in steps, counts, messages, logs and outputs, in their order."""

    def task() -> None:
        progress.plan({"load": 1.0, "save": 3.0})
        with progress.step("load"):
            for _ in progress.track(["a", "b"], unit="rows"):
                with progress.step("row"):
                    progress(1, 2, "half a row")
            progress.log("loaded", "warning")
        with suppress(Oops), progress.step("save", weight=3):
            progress.advance(2)
            progress.advance()
            progress.output({"rows": 2})
            raise Oops

    here = heard()
    with inside(here):
        task()
    with relayed(near):
        task()
    assert lines(near) == lines(here) != []
    assert shown(near) == shown(here)


# What a task may do, as a tree: a step holds more of the same.
LEAVES = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 5)),
    st.tuples(st.just("count"), st.integers(0, 9), st.none() | st.integers(1, 9)),
    st.tuples(st.just("say"), st.text(max_size=3)),
    st.tuples(st.just("fraction"), st.floats(0, 1)),
    st.tuples(st.just("log"), st.text(max_size=3)),
    st.tuples(st.just("output"), st.integers()),
    st.tuples(st.just("track"), st.integers(0, 3), st.none() | st.text("abc", max_size=1)),
    st.tuples(st.just("plan"), st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3)),
)
ACTS = st.recursive(
    st.lists(LEAVES, max_size=5),
    lambda inner: st.lists(
        LEAVES
        | st.tuples(st.just("step"), st.sampled_from("abc"), inner, st.booleans())
        | st.tuples(st.just("loop"), st.sampled_from(["end", "break", "raise"]), st.integers(0, 3), inner)
        | st.tuples(st.just("bar"), st.integers(0, 3), inner),
        max_size=5,
    ),
    max_leaves=12,
)


def act(acts: list[Any]) -> None:
    for verb, *args in acts:
        ACTIONS[verb](*args)


def track(count: int, message: str | None) -> None:
    for _ in progress.track(range(count), message=message):
        pass


def bar(count: int, inside: list[Any]) -> None:
    with progress.tqdm(total=count or None, file=io.StringIO(), desc="bar") as shown:
        act(inside)
        shown.update(count)


def loop(end: str, count: int, inside: list[Any]) -> None:
    with suppress(Oops):
        for _ in progress.track(range(count)):
            act(inside)
            if end == "break":
                break
            if end == "raise":
                raise Oops


def step(name: str, inside: list[Any], fails: bool) -> None:
    with suppress(Oops), progress.step(name):
        act(inside)
        if fails:
            raise Oops  # the step fails, the task goes on


ACTIONS: dict[str, Callable[..., None]] = {
    "advance": progress.advance,
    "count": progress,
    "say": lambda message: progress(message=message),
    "fraction": lambda fraction: progress(fraction=fraction),
    "log": progress.log,
    "output": progress.output,
    "plan": progress.plan,
    "track": track,
    "bar": bar,
    "loop": loop,
    "step": step,
}


@given(ACTS)
def test_whatever_a_task_does_comes_out_the_same(acts: list[Any]) -> None:
    """Any nesting of steps, with counts set and advanced in any order: the same lines, the same bar."""
    here, there = heard(), heard()
    with inside(here):
        act(acts)
    with relayed(there):
        act(acts)
    assert [line for line in lines(there) if not isinstance(line, list)] == [
        line for line in lines(here) if not isinstance(line, list)
    ]
    assert shown(there) == shown(here)


def test_several_processes_count_together(near: Reporter) -> None:
    """Each says how far it moved, not where it stands."""
    relays = [Relay(Replay(near).apply, shared=True) for _ in range(3)]
    for relay in relays:
        with inside(relay.open()):
            for _ in range(10):
                progress.advance(2)
    for relay in relays:
        relay.close()
    assert shown(near).current == 60


def test_a_relay_may_be_opened_for_a_step(near: Reporter) -> None:
    """Then what is reported belongs to it."""
    with near.step(near.meter.root, "resize", 1.0) as step:
        relay = Relay(Replay(near, step).apply, shared=True)
        with inside(relay.open()), progress.step("one picture"):
            progress.advance(3)
        relay.close()
        assert [child.name for child in step.children] == ["one picture"]
    assert shown(near).current == 3


def test_a_hot_loop_sends_few_operations_and_its_last_value(near: Reporter) -> None:
    """Counts and messages are coalesced; the clock stands still here, so only the first and the last go."""
    sent: list[bytes] = []
    replay = Replay(near)

    def send(batch: bytes) -> None:
        sent.append(batch)
        replay.apply(batch)

    relay = Relay(send, clock=lambda: 0.0)
    with inside(relay.open()):
        for n in range(100_000):
            progress(n, message=f"row {n}")
    relay.close()
    assert (shown(near).current, shown(near).message) == (99_999, "row 99999")
    assert sum(map(len, sent)) < 10_000


def test_a_slow_reader_makes_the_task_wait_and_loses_nothing(near: Reporter) -> None:
    """What is never left out waits in a bounded queue."""
    go, replay = threading.Event(), Replay(near)

    def send(batch: bytes) -> None:
        go.wait()
        replay.apply(batch)

    relay = Relay(send)
    reporter = relay.open()

    def talk() -> None:
        for n in range(5000):
            reporter.output(n)

    talking = threading.Thread(target=talk)
    talking.start()
    talking.join(0.2)
    assert talking.is_alive()
    assert len(relay._pending) <= 1000
    go.set()
    talking.join()
    relay.close()
    assert lines(near) == list(range(5000))


def test_a_reader_that_is_gone_ends_the_waiting() -> None:
    """And what is reported after that goes nowhere, at no cost."""

    def send(batch: bytes) -> None:
        raise BrokenPipeError

    relay = Relay(send)
    reporter = relay.open()
    for n in range(5000):
        reporter.output(n)
    relay.close()
    assert relay.closed


def test_what_an_attempt_that_is_to_stop_reports_is_refused(near: Reporter) -> None:
    """As that of a thread: nothing arrives, and nothing is an error. Steps that had begun end."""
    sent: list[bytes] = []
    relay = Relay(sent.append)
    with inside(relay.open()):
        with progress.step("a"):
            progress.log("too late")
            progress(1)
            with progress.step("b"):
                progress(2)
        progress(3)
    relay.close()
    near.stop = "cancelled"
    replay = Replay(near)
    for batch in sent:
        replay.apply(batch)
    assert lines(near) == []
    assert shown(near).current is None


def test_the_other_process_hears_of_a_stop(near: Reporter) -> None:
    """Its next report raises, like any task's."""
    with relayed(near) as far:
        far.stop = "cancelled"
        assert progress.cancelled
        with pytest.raises(Stopped, match="cancelled"):
            progress(1)


def test_bad_values_are_refused_where_they_are_reported(near: Reporter) -> None:
    """In the task's own frame, in its own process."""
    with relayed(near):
        for report in (
            lambda: progress(float("nan")),
            lambda: progress.advance(float("inf")),
            lambda: progress.output({1, 2}),
            lambda: progress.log("x", "loud"),
        ):
            with pytest.raises(BadReport):
                report()
    assert shown(near).current is None


def test_a_process_that_dies_leaves_its_steps_failed(near: Reporter) -> None:
    """The page must not show a step as running in a job that has failed."""
    replay = Replay(near)
    relay = Relay(replay.apply)
    with inside(relay.open()):
        a = progress.step("a")
        a.__enter__()
        b = progress.step("b")
        b.__enter__()
        relay.close()
        replay.close()
        b.__exit__(None, None, None)
        a.__exit__(None, None, None)
    assert [(step.key, step.status) for step in shown(near).steps] == [("a", "failed")]


def test_the_latest_checkpoint_arrives_after_what_was_put_out_before_it(near: Reporter) -> None:
    """And the one before this attempt is known in the other process."""
    relay = Relay(Replay(near).apply, checkpoint="[1]", clock=lambda: 0.0)
    with inside(relay.open()):
        assert progress.last_checkpoint == [1]
        for n in range(10_000):
            progress.checkpoint({"row": n})
        assert progress.last_checkpoint == {"row": 9999}
        progress.output("before the last")
        progress.checkpoint("last")
    relay.close()
    checkpoints = [line for line in lines(near) if line[0] == "checkpoint"]
    assert len(checkpoints) <= 2
    assert lines(near)[-2:] == ["before the last", ("checkpoint", '"last"')]
    assert near.last_checkpoint == "last"


@pytest.mark.parametrize(
    "batch",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"[1]",
        b'[["boom"]]',
        b'[["update",7,1,null,null,null]]',
        b'[["update",0,1]]',
        b'[["end",3,"done"]]',
        b'[["begin",1,9,"a",1.0,false]]',
        b'[["log",1,2,3]]',
    ],
)
def test_what_is_no_report_is_refused_with_a_sentence(near: Reporter, batch: bytes) -> None:
    """Whatever the other process writes."""
    with pytest.raises(BrokenRelay, match="task's process"):
        Replay(near).apply(batch)


@pytest.mark.parametrize(
    "batch",
    [
        b'[["update",0,"x",null,null,null]]',
        b'[["begin",1,0,"a",-1,true]]',
        b'[["set",0,"x",1,null,null]]',
        b'[["advance",0,null]]',
    ],
)
def test_a_value_that_cannot_be_is_refused_as_any_task_would_be(near: Reporter, batch: bytes) -> None:
    """The rules for values are the reporter's."""
    with pytest.raises(BadReport):
        Replay(near).apply(batch)


def test_what_the_sink_refuses_is_not_swallowed(near: Reporter) -> None:
    """Redis has taken nothing for a minute: the attempt must hear of it."""

    def refuse(data: Any) -> None:
        raise StoreUnavailable

    near.sink.output = refuse  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        Replay(near).apply(b'[["output",1]]')


# --- frames ----------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[io.BufferedReader, Callable[[], int], Callable[[], None]]]:
    reading, writing = os.pipe()
    closed: list[int] = []

    def close() -> None:
        if not closed:
            closed.append(writing)
            os.close(writing)

    with os.fdopen(reading, "rb") as file:
        yield file, lambda: writing, close
        close()


@given(st.lists(st.binary(max_size=200_000), max_size=4))
def test_messages_come_out_of_a_pipe_as_they_went_in(payloads: list[bytes]) -> None:
    """Whatever they hold, and however the reads cut them; then the end."""
    reading, writing = os.pipe()

    def write() -> None:
        for payload in payloads:
            frames.write(writing, frames.REPORTS, payload)
        os.close(writing)

    with os.fdopen(reading, "rb") as file:
        thread = threading.Thread(target=write)
        thread.start()
        assert [frames.read(file) for _ in payloads] == [(frames.REPORTS, payload) for payload in payloads]
        assert frames.read(file) is None
        thread.join()


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 9])
def test_a_message_that_is_cut_is_the_end(pipe: Any, cut: int) -> None:
    """Its writer has died."""
    file, writing, close = pipe
    os.write(writing(), frames.pack(frames.RESULT, b"whole")[:cut])
    close()
    assert frames.read(file) is None


@pytest.mark.parametrize("raw", [b"Hello, world!", b"R\xff\xff\xff\xff", b"=\x7f\x00\x00\x00"])
def test_what_is_no_message_is_refused(pipe: Any, raw: bytes) -> None:
    """Its length is never believed."""
    file, writing, _ = pipe
    os.write(writing(), raw)
    with pytest.raises(BrokenRelay, match="no message"):
        frames.read(file)
