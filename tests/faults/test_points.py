"""The points at which the API is killed are in the code, are passed when they should be, and kill one process."""

from __future__ import annotations

import importlib
import inspect
import signal
import sys
from pathlib import Path

import pytest

from tests.faults import doom
from tests.faults.doom import SHORTENED, Doom, arm, disarm, is_armed
from tests.faults.house import DOOMED, path_from
from tests.faults.points import POINTS, Point
from tests.faults.scenarios import KILLED_AT, SCENARIOS
from tests.support.process import Process

PLACES = sorted({place for point in POINTS.values() for place in (point.where, point.within) if place})


@pytest.mark.parametrize("where", PLACES)
def test_every_point_is_in_the_code(where: str) -> None:
    """A function that was renamed would be killed at no more, and nobody would notice."""
    function = doom.found(where, importlib.import_module(where.partition(":")[0]))
    assert inspect.isfunction(function)
    assert not inspect.isgeneratorfunction(function), "a call of it does nothing yet"


@pytest.mark.parametrize("where", SHORTENED)
def test_every_time_that_is_shortened_is_in_the_code(where: str) -> None:
    """And is longer there."""
    place, _, keyword = where.rstrip(")").partition("(")
    thing = doom.found(place, importlib.import_module(where.partition(":")[0]))
    long = inspect.signature(thing).parameters[keyword].default if keyword else thing
    assert long > SHORTENED[where]


def test_a_scenario_kills_at_every_point() -> None:
    """A point that no scenario arms says nothing. A scenario fails if one that it armed was not passed."""
    assert {point for points in KILLED_AT.values() for point in points} == set(POINTS)
    assert set(KILLED_AT) <= set(SCENARIOS)


def test_a_point_that_is_gone_is_named() -> None:
    """The API stops with this, instead of living for ever."""
    with pytest.raises(LookupError, match=r"no tests\.faults\.doom:Doom\.passed_by any more"):
        doom.found("tests.faults.doom:Doom.passed_by", doom)


async def test_a_process_dies_at_the_armed_pass_and_only_one_of_several(tmp_path: Path) -> None:
    """Passes are counted from the moment at which the point was armed."""
    died: list[str] = []
    first, second = (
        Doom(tmp_path, lambda: died.append("first")),
        Doom(tmp_path, lambda: died.append("second")),
    )
    first.passes("record-read")
    arm(tmp_path, "record-read", passes=2)
    first.passes("record-read")
    second.passes("record-read")
    assert is_armed(tmp_path, "record-read")
    second.passes("record-read")
    first.passes("record-read")
    assert died == ["second"]
    assert not is_armed(tmp_path, "record-read")
    arm(tmp_path, "stream-end")
    assert disarm(tmp_path) == ["stream-end"]
    with pytest.raises(KeyError, match="no point 'nowhere'"):
        arm(tmp_path, "nowhere")


async def test_what_is_wrapped_passes_before_or_after_and_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments, results and exceptions go through untouched."""
    passed: list[str] = []
    monkeypatch.setattr(Doom, "passes", lambda self, name: passed.append(name))
    module = type(sys)("made")

    async def inner(given: int) -> int:
        passed.append(f"inner {given}")
        return given + 1

    async def outer(given: int) -> int:
        return int(await module.inner(given))

    vars(module).update(inner=inner, outer=outer)
    never = Doom(tmp_path, lambda: None)
    doom.wrap(module, "early", Point("before", "made:inner", "", within="made:outer"), never)
    doom.wrap(module, "late", Point("after", "made:inner", "", lambda args, result: result == 8), never)
    doom.mark(module, "made:outer")
    assert await module.inner(1) == 2
    assert await module.outer(7) == 8
    assert passed == ["inner 1", "early", "inner 7", "late"]


@pytest.mark.slow
def test_a_process_whose_path_begins_with_doom_kills_itself(tmp_path: Path) -> None:
    """Modules are changed as they are imported; other functions of them are not."""
    folder = tmp_path / "doom"
    folder.mkdir()
    arm(folder, "expire-found")
    code = (
        "import asyncio; from milepost.log import housekeeping; import milepost_api.recorder as r\n"
        "print(r.LOOK_SECONDS, flush=True)\n"
        "asyncio.run(housekeeping.expire_unstarted(None, ''))\nprint('survived', flush=True)"
    )
    settings = {"PYTHONPATH": path_from(DOOMED), doom.FOLDER_VARIABLE: str(folder)}
    with Process.python("doomed", "-c", code, log=tmp_path / "log", settings=settings) as process:
        assert process.wait() == -signal.SIGKILL
    assert process.output().strip() == "1.0"
    assert [path.name for path in folder.iterdir()] == [f"expire-found.{process.pid}"]
