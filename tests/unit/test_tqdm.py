"""`progress.tqdm` beside tqdm itself, and what its bars become in a job."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import tqdm as real
import tqdm.auto as real_auto

from milepost import progress
from milepost.errors import BadReport
from milepost.job import Progress
from milepost.reporting import HERE, Place, Reporter, Stopped
from milepost.reporting.tqdm import tqdm
from tests.support.sinks import Notes


@pytest.fixture
def without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milepost.reporting.tqdm.installed", lambda: None)


def shown(reporter: Reporter) -> Progress:
    return reporter.meter.read(0.0)


def counted(reporter: Reporter) -> tuple[Any, Any]:
    now = shown(reporter)
    return now.current, now.total


async def some(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


# --- the same as tqdm ----------------------------------------------------------------------------

METHODS = (
    "update",
    "close",
    "clear",
    "refresh",
    "unpause",
    "reset",
    "set_description",
    "set_description_str",
    "set_postfix",
    "set_postfix_str",
    "moveto",
    "display",
    "wrapattr",
    "write",
    "external_write_mode",
    "set_lock",
    "get_lock",
)


def arguments(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Return names, kinds and defaults of the parameters, without `self`."""
    parameters = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters if one.name != "self"]


def test_it_is_what_progress_offers() -> None:
    """`tqdm = progress.tqdm` is the one line to change, and it is a class."""
    assert progress.tqdm is tqdm
    assert isinstance(progress.tqdm(range(1), disable=True), tqdm)


def test_the_constructor_takes_exactly_tqdms_arguments() -> None:
    """In its order, with its defaults: positional arguments mean the same."""
    assert arguments(tqdm) == arguments(real.tqdm.__init__)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_exactly_tqdms_arguments(name: str) -> None:
    """A call that tqdm takes is taken."""
    assert arguments(getattr(tqdm, name)) == arguments(getattr(real.tqdm, name))


@pytest.mark.parametrize("name", ["as_completed", "gather"])
def test_what_tqdm_offers_for_asyncio_is_there(name: str) -> None:
    """With the arguments of tqdm.asyncio."""
    assert arguments(getattr(tqdm, name)) == arguments(getattr(real_auto.tqdm, name))


def test_outside_a_job_it_is_a_bar_of_tqdm() -> None:
    """It prints what tqdm prints, and its attributes are tqdm's."""
    told = [io.StringIO(), io.StringIO()]
    for make, file in zip((tqdm, real_auto.tqdm), told, strict=True):
        options: dict[str, Any] = {
            "file": file,
            "mininterval": 0,
            "ncols": 40,
            "bar_format": "{desc}{n_fmt}/{total}",
        }
        assert list(make(range(3), desc="Rows", **options)) == [0, 1, 2]
        with make(total=5, initial=1, leave=False, **options) as bar:
            bar.update(2)
            bar.set_postfix(loss=0.5)
            bar.n = 4
            bar.total = 6
            bar.refresh()
            assert (bar.n, bar.total, len(bar), bar.postfix, bar.format_dict["n"]) == (4, 6, 6, "loss=0.5", 4)
    assert told[0].getvalue() == told[1].getvalue()
    assert "Rows3/3" in told[0].getvalue()


def test_what_belongs_to_tqdms_class_is_found() -> None:
    """Its helpers are its own."""
    assert tqdm.format_sizeof(123456) == real.tqdm.format_sizeof(123456)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tqdm.nonsense


@pytest.mark.usefixtures("without_tqdm")
def test_without_tqdm_a_bar_counts_and_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """A task's function can be called where tqdm is not installed."""
    bar = tqdm(range(3), desc="Rows")
    assert list(bar) == [0, 1, 2]
    assert (bar.n, bar.total, bar.desc, str(bar)) == (3, 3, "Rows", "Rows3/3")
    with tqdm(total=2) as bar:
        bar.update()
        bar.refresh()
    assert bar.n == 1
    assert HERE.get() is None
    tqdm.write("said")
    assert capsys.readouterr() == ("said\n", "")
    with pytest.raises(AttributeError):
        _ = tqdm.format_sizeof
    with tqdm.external_write_mode(), tqdm.get_lock():
        tqdm.set_lock(tqdm.get_lock())


@pytest.mark.parametrize("job", [True, False], ids=["in a job", "outside"])
def test_a_bar_answers_as_tqdms_own_does(reporter: Reporter, job: bool) -> None:
    """`len`, `bool`, `in`: the same answers, or the same refusals."""
    token = HERE.set(Place(reporter) if job else None)
    for make in (tqdm, real_auto.tqdm):
        quiet: Any = {"file": io.StringIO()}
        assert len(make([1, 2], **quiet)) == 2
        assert len(make(total=7, **quiet)) == 7
        assert len(make(iter([1, 2, 3]), **quiet)) == 3
        assert bool(make([1], **quiet)) is True
        assert bool(make(total=0, **quiet)) is False
        assert 2 in make([1, 2], **quiet)
        with pytest.raises(TypeError):
            bool(make(**quiet))
        with pytest.raises(TypeError):
            len(make(**quiet))
        with pytest.raises(KeyError, match="Unknown argument"):
            make(range(3), colours="red", **quiet)
        gc.collect()
    HERE.reset(token)


class UpTo(tqdm):
    """The example of tqdm's own documentation."""

    def update_to(self, blocks: int = 1, size: int = 1, total: int | None = None) -> bool | None:
        if total is not None:
            self.total = total
        return self.update(blocks * size - self.n)


@pytest.mark.parametrize("job", [True, False], ids=["in a job", "outside"])
def test_a_class_can_be_derived(reporter: Reporter, job: bool) -> None:
    """Inside a job and outside, with `super()`, and with attributes of its own."""
    token = HERE.set(Place(reporter) if job else None)
    with UpTo(unit="B", file=io.StringIO()) as bar:
        bar.mine = "kept"
        bar.update_to(3, 10, 100)
        assert (bar.n, bar.total, bar.unit, bar.mine) == (30, 100, "B", "kept")
        assert isinstance(bar, tqdm)
    HERE.reset(token)


# --- in a job ------------------------------------------------------------------------------------


def test_a_loop_counts_what_is_finished(here: Reporter, capsys: pytest.CaptureFixture[str]) -> None:
    """Total, unit and description are the job's, and nothing is printed."""
    seen = [counted(here) for _ in tqdm(range(3), desc="Rows", unit="rows")]
    assert seen == [(0, 3), (1, 3), (2, 3)]
    now = shown(here)
    assert (now.current, now.total, now.unit, now.percent) == (3, 3, "rows", 99.9)
    assert now.message == "Rows"
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_updated_by_hand(here: Reporter) -> None:
    """Everything that code written for tqdm does with one."""
    with tqdm(total=10, initial=1) as bar:
        assert counted(here) == (1, 10)
        bar.update(3)
        bar.update()
        assert counted(here) == (5, 10)
        bar.n = 8
        bar.refresh()
        assert counted(here) == (bar.n, bar.total) == (8, 10)
        bar.set_description("Half")
        assert (bar.desc, shown(here).message) == ("Half: ", "Half")
        bar.set_postfix(b=2, a=0.123456)
        assert shown(here).message == "Half, a=0.123, b=2"
        bar.set_postfix_str("done soon", refresh=False)
        assert shown(here).message == "Half, a=0.123, b=2"
        bar.refresh()
        assert shown(here).message == "Half, done soon"
        bar.reset(total=4)
        assert counted(here) == (0, 4)
        bar.total = None
        assert counted(here) == (0, None)
        bar.unit = "B"
        assert shown(here).unit == "B"
        bar.clear()
        bar.unpause()
        bar.display("as I say")
        assert shown(here).message == "as I say"
        assert bar.format_dict["postfix"] == "done soon"
    bar.update(99)
    assert bar.disable is True
    assert counted(here) == (0, None)


def test_a_bar_can_be_walked_backwards(here: Reporter) -> None:
    """tqdm 4.70 goes forwards here: it restores its iterable before its generator begins."""
    assert list(reversed(tqdm([1, 2, 3]))) == [3, 2, 1]
    assert counted(here) == (3, 3)


def test_a_unit_scale_scales_the_counts(here: Reporter) -> None:
    """A number multiplies what is shown; True is about drawing."""
    with tqdm(range(4), unit_scale=1000) as bar:
        assert [counted(here) for _ in bar][1] == (1000, 4000)
    with tqdm(total=4, unit_scale=1000) as bar:
        bar.update(2)
        assert (counted(here), bar.n, bar.total) == ((2000, 4000), 2, 4)
    assert list(tqdm(range(3), unit_scale=True)) == [0, 1, 2]
    assert counted(here) == (3, 3)


def test_a_bar_inside_of_another_is_a_step_of_its_item(here: Reporter) -> None:
    """The overall percent is honest: three of ten items and half of the next are 35 %."""
    outer = tqdm(total=10, desc="Files")
    outer.update(3)
    with tqdm(total=4, desc="Rows", unit="rows") as inner:
        inner.update(2)
        now = shown(here)
        assert (now.percent, now.current, now.total, now.unit, now.message) == (35, 2, 4, "rows", "Rows")
        assert now.step is not None
        assert now.step.name == "Rows"
    now = shown(here)
    assert (now.current, now.total, now.message, now.step) == (3, 10, "Files", None)
    outer.update()
    assert (shown(here).percent, shown(here).message) == (40, "Files")
    outer.close()


def test_nesting_goes_to_any_depth_and_mixes_with_track_and_step(here: Reporter) -> None:
    """Each level is a part of one item of the level above it."""
    percents: list[float | None] = []
    for _ in tqdm(range(2)):
        for _ in progress.track(range(2)):
            with progress.step("part"):
                percents += [shown(here).percent for _ in tqdm(range(2))]
    assert percents == [0, 12.5, 25, 37.5, 50, 62.5, 75, 87.5]
    assert shown(here).percent == 99.9


def test_a_loop_inside_of_a_loop_without_a_total_is_no_milestone(here: Reporter) -> None:
    """A hot loop with small bars inside does not fill the queue of reports that are never left out."""
    for _ in tqdm(iter(range(300))):
        for _ in tqdm(range(2), desc="inner"):
            pass
    assert isinstance(here.sink, Notes)
    assert here.sink.of("milestone") == []
    assert shown(here).steps == ()
    assert counted(here) == (300, None)


def test_a_bar_that_is_planned_is_that_step(here: Reporter) -> None:
    """`@task(steps=…)` with the descriptions makes bars one after the other one honest bar."""
    progress.plan({"load": 1, "train": 3})
    for _ in tqdm(range(4), desc="load"):
        pass
    assert shown(here).percent == 25
    for n in tqdm(range(4), desc="train"):
        if n == 2:
            assert shown(here).percent == 62.5
            for _ in tqdm(range(3), desc="inside"):
                pass
    steps = [(one.key, one.status, one.percent) for one in shown(here).steps]
    assert steps == [("load", "succeeded", 100), ("train", "succeeded", 100)]


def test_a_bar_beside_the_plan_moves_no_percent_and_shows_no_step(here: Reporter) -> None:
    """It is a loop, not a part that somebody announced."""
    progress.plan({"load": 1, "train": 3})
    for _ in tqdm(range(5), desc="warming up"):
        for _ in tqdm(range(5), desc="inner"):
            now = shown(here)
            assert (now.percent, now.step) == (0, None)
            assert [one.key for one in now.steps] == ["load", "train"]
    assert counted(here) == (5, 5)


def test_one_loop_after_the_other_promises_nothing(here: Reporter) -> None:
    """Nobody said that there would be a second one: the bar stays, and no end is foretold."""
    for now, _ in enumerate(tqdm(range(100))):
        here.meter.read(float(now))
    for now, _ in enumerate(tqdm(range(10)), 100):
        told = here.meter.read(float(now))
        assert (told.percent, told.eta_seconds, told.total) == (99, None, 10)


@pytest.mark.parametrize("fails", [True, False], ids=["failed", "left by break"])
def test_what_was_left_early_is_frozen_until_it_is_known_why(here: Reporter, fails: bool) -> None:
    """A generator cannot tell a `break` from an exception; what follows does."""
    progress.plan({"load": 1, "train": 1})
    for n in tqdm(range(4), desc="load"):
        if n == 2:
            break
    assert shown(here).percent == 25
    end = here.meter.finish(1.0, succeeded=not fails)
    assert end.percent == (25 if fails else 100)
    assert end.steps[0].status == ("failed" if fails else "succeeded")


def test_a_bar_left_by_break_is_done_when_the_next_begins(here: Reporter) -> None:
    """The task went on."""
    progress.plan({"load": 1, "train": 1})
    for _ in tqdm(range(4), desc="load"):
        break
    for _ in tqdm(range(4), desc="train"):
        now = shown(here)
        assert (now.percent, now.steps[0].status) == (50, "succeeded")
        break


def test_an_exception_leaves_the_place_as_it_was(here: Reporter) -> None:
    """What is reported after it belongs where it belonged before the loop."""
    place = HERE.get()
    with contextlib.suppress(LookupError):
        for _ in tqdm(range(4)):
            for _ in tqdm(range(2)):
                raise LookupError
    assert HERE.get() is place
    with contextlib.suppress(LookupError), tqdm(total=3), tqdm(total=2):
        raise LookupError
    assert HERE.get() is place
    progress(5, 10)
    assert counted(here) == (5, 10)


def test_bars_may_be_closed_in_any_order_or_not_at_all(here: Reporter) -> None:
    """Code that forgets to close its bars is common, and so is closing the outer one first."""
    place = HERE.get()
    outer, inner = tqdm(total=3), tqdm(total=2)
    outer.close()
    inner.close()
    assert HERE.get() is place
    forgotten = tqdm(total=3)
    forgotten.update()
    del forgotten
    gc.collect()
    assert HERE.get() is place
    assert counted(here) == (1, 3)


async def test_a_bar_that_is_closed_in_another_context_is_forgotten_here(here_too: Reporter) -> None:
    """A thread closes it: the next one takes its place, and is not taken for one inside of it."""
    bar = tqdm(total=2)
    await asyncio.to_thread(bar.close)
    tqdm(total=5).update()
    assert counted(here_too) == (1, 5)


async def test_async_loops_count_as_well(here_too: Reporter) -> None:
    """Over what is asynchronous and over what is not, as tqdm.asyncio does."""
    assert [counted(here_too) async for _ in tqdm(some(2), total=2)] == [(0, 2), (1, 2)]
    assert [counted(here_too) async for _ in tqdm([1, 2])] == [(0, 2), (1, 2)]
    assert counted(here_too) == (2, 2)


async def test_an_async_loop_that_is_left_early_is_over_at_once(here_too: Reporter) -> None:
    """Not when the event loop gets round to it."""
    place = HERE.get()
    for make in (tqdm, progress.track):
        async for _ in make(some(5)):
            break
        assert HERE.get() is place


async def test_gather_and_as_completed_count_what_is_done(here_too: Reporter) -> None:
    """With the results of asyncio's own."""

    async def one(n: int) -> int:
        await asyncio.sleep(0)
        if n == 9:
            raise LookupError("nine")
        return n * n

    assert await tqdm.gather(*map(one, range(4)), desc="squares") == [0, 1, 4, 9]
    assert counted(here_too) == (4, 4)
    assert sorted([await each for each in tqdm.as_completed([one(1), one(2)])]) == [1, 4]
    [kept] = await tqdm.gather(one(9), return_exceptions=True)
    assert isinstance(kept, LookupError)
    with pytest.raises(LookupError):
        await tqdm.gather(one(9))


async def test_tasks_at_once_nest_in_their_own_loops(here_too: Reporter) -> None:
    """One task's bar is not taken for the outer one of the other's inner bar."""
    both = asyncio.Barrier(2)

    async def part(name: str) -> str | None:
        with progress.step(name), tqdm(total=2, desc=f"outer {name}"):
            await both.wait()
            with tqdm(total=3, desc=f"inner {name}") as inner:
                inner.update()
                await both.wait()
                place = HERE.get()
                assert place is not None
                assert place.step.parent is not None
                return place.step.parent.name

    assert list(await asyncio.gather(part("a"), part("b"))) == ["a", "b"]


def test_a_stopped_task_is_told_at_the_next_item(here: Reporter) -> None:
    """However seldom its progress leaves."""
    items = iter(tqdm(range(10)))
    assert [next(items), next(items)] == [0, 1]
    here.stop = "cancelled"
    with pytest.raises(Stopped, match="cancelled"):
        next(items)
    assert counted(here) == (2, 10)


def test_a_disabled_bar_says_nothing(here: Reporter) -> None:
    """And what is inside of it is not inside of a loop. None, which means no terminal, is not disabled."""
    assert list(tqdm(range(3), disable=True)) == [0, 1, 2]
    with tqdm(total=3, disable=True) as bar:
        bar.update()
        bar.refresh()
        assert HERE.get() is not None
        progress(1, 2)
    assert (bar.n, counted(here)) == (0, (1, 2))
    here.meter.root.total = None
    assert list(tqdm(range(3), disable=None)) == [0, 1, 2]
    assert counted(here) == (3, 3)


def test_write_is_a_line_for_those_who_watch(here: Reporter, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless it goes to a file."""
    file = io.StringIO()
    tqdm.write("hello")
    tqdm.write("to a file", file=file)
    assert isinstance(here.sink, Notes)
    assert here.sink.of("log") == [["info", "hello", None]]
    assert file.getvalue() == "to a file\n"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("job", [True, False], ids=["in a job", "outside"])
def test_bytes_through_a_stream_are_counted(reporter: Reporter, job: bool) -> None:
    """Read or written, as tqdm's own wrapattr does."""
    token = HERE.set(Place(reporter) if job else None)
    with tqdm.wrapattr(io.BytesIO(b"12345"), "read", total=5, file=io.StringIO()) as stream:
        assert stream.read(2) == b"12"
        assert not stream.closed
        assert stream.read() == b"345"
    with tqdm.wrapattr(io.BytesIO(), "write", file=io.StringIO()) as stream:
        stream.write(b"123")
    HERE.reset(token)
    if job:
        assert (shown(reporter).current, shown(reporter).unit) == (3, "B")


def test_trange_is_a_shortcut(here: Reporter) -> None:
    """As in tqdm."""
    assert list(progress.trange(2, 5, desc="some")) == [2, 3, 4]
    assert counted(here) == (3, 3)


def test_a_total_that_is_no_number_is_refused_and_an_infinite_one_unknown(here: Reporter) -> None:
    """In the line that is wrong, with nothing begun."""
    place = HERE.get()
    with pytest.raises(BadReport):
        tqdm(total="many")  # type: ignore[arg-type]
    assert HERE.get() is place
    with tqdm(total=float("inf")):
        assert counted(here) == (0, None)


def test_a_long_description_is_cut_and_fails_nothing(here: Reporter) -> None:
    """A path may be longer than the name of a step."""
    with tqdm(total=2), tqdm(total=2, desc="x" * 5000):
        step = shown(here).step
        assert step is not None
        assert len(step.name) == 200
