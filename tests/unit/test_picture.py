"""README's moving picture is drawn from a run that has been recorded, and shows what was seen in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from devtools.picture.__main__ import PICTURE, RUN
from devtools.picture.draw import draw
from devtools.picture.run import Run
from devtools.picture.story import RESUMED, tell
from tests.support.process import ROOT

RECORDED = Run.from_json(json.loads(RUN.read_text()))
PARTS = [one for one in RECORDED.reader if one.id is not None]


def test_the_picture_is_the_run_drawn() -> None:
    """Byte for byte: `python -m devtools.picture` draws it anew."""
    assert PICTURE.read_text() == draw(RECORDED)


def test_it_can_stand_in_a_readme() -> None:
    """Small, well-formed, without a script or anything from elsewhere; the README shows it, with words for it."""
    text = PICTURE.read_text()
    assert len(text.encode()) < 60_000
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}
    assert tags <= {"svg", "title", "desc", "style", "clipPath", "rect", "path", "g", "text", "tspan"}
    assert not re.search(r"(?:href|src)=|url\((?!#)|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "prefers-reduced-motion: reduce" in text
    path = PICTURE.relative_to(ROOT).as_posix()
    assert re.search(rf"!\[[^\]]{{40,}}\]\({path}\)", (ROOT / "README.md").read_text())


def test_the_run_kept_what_the_readme_promises() -> None:
    """The reader was cut off, came back with its last id, and has every event once and in order."""
    places = [int(str(one.id).rpartition("-")[2]) for one in PARTS]
    assert places == list(range(places[0], places[-1] + 1))
    assert len({str(one.id).rpartition("-")[0] for one in PARTS}) == 1
    assert PARTS[-1].type == "end"
    last = [one.id for one in PARTS if one.at < RECORDED.cut_at + 0.1][-1]
    resumed = next(one.text for one in tell(RECORDED).lines if one.tone == RESUMED)
    assert resumed.endswith(f"last_event_id={last}")
    missed = [one for one in RECORDED.worker if RECORDED.cut_at + 0.1 < one.at < RECORDED.back_at]
    assert len(missed) >= 5
    assert not [one for one in PARTS if RECORDED.cut_at + 0.1 < one.at < RECORDED.back_at]


def test_the_bar_is_never_ahead_of_the_worker() -> None:
    """What is shown has been done, at every moment."""
    story = tell(RECORDED)
    for at, percent in story.seen:
        done = max((there for moment, there in story.done if moment <= at + 0.05), default=0)
        assert percent <= done or percent == 100, at


def test_every_event_of_the_run_has_its_line() -> None:
    """With its id, between what happened to the connection."""
    story = tell(RECORDED)
    shown = re.findall(r"^id: (\S+)", "\n".join(one.text for one in story.lines), re.MULTILINE)
    assert shown == [one.id for one in PARTS]
    assert [one.at for one in story.lines] == sorted(one.at for one in story.lines)


@pytest.mark.parametrize(
    "reader",
    [PARTS[:-1], [one for one in RECORDED.reader if one.connection != "reconnecting"]],
    ids=["no end", "not cut off"],
)
def test_a_run_that_tells_no_story_is_refused(reader) -> None:
    """In a sentence: it would be drawn as something that nobody saw."""
    with pytest.raises(ValueError, match="Record another one"):
        tell(replace(RECORDED, reader=tuple(reader)))
