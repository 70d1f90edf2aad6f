"""Lines of children on the way to the terminal."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.launch.child import LONGEST_LINE, Lines
from milepost.launch.embedded import EmbeddedRedis
from milepost.launch.terminal import HELD_LINES, Terminal


@given(st.text(alphabet="aé\n🙂", max_size=40), st.lists(st.integers(1, 5), min_size=1))
def test_lines_do_not_depend_on_how_the_bytes_arrive(text: str, sizes: list[int]) -> None:
    """Nor does a character that is cut in the middle."""
    data, lines, found, place = text.encode(), Lines(), [], 0
    while data:
        size = sizes[place % len(sizes)]
        found += lines.feed(data[:size])
        data, place = data[size:], place + 1
    found += lines.feed(b"")
    assert found == text.splitlines()


def test_a_line_without_an_end_is_shown_in_pieces() -> None:
    """A child that never ends a line cannot fill the memory."""
    lines = Lines()
    assert lines.feed(b"x" * LONGEST_LINE) == []
    assert lines.feed(b"y") == ["x" * LONGEST_LINE + "y"]


def test_bytes_that_are_no_text_are_still_shown() -> None:
    """As escapes."""
    assert Lines().feed(b"a\xffb\n") == ["a\\xffb"]


class Paused(io.StringIO):
    """A terminal on which somebody pressed Ctrl-S."""

    def __init__(self) -> None:
        super().__init__()
        self.resume, self.reached = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.resume.wait(30)
        return super().write(text)


def test_a_paused_terminal_holds_nobody_up_and_says_what_it_missed() -> None:
    """Lines beyond the limit are counted, not kept, and `line` always returns."""
    out = Paused()
    terminal = Terminal(out, colour=False)
    terminal.line("api", "first")
    assert out.reached.wait(30)
    for number in range(HELD_LINES + 5):
        terminal.line("api", str(number))
    out.resume.set()
    terminal.close(wait_seconds=30)

    shown = out.getvalue().splitlines()
    assert shown[0] == "api      | first"
    assert f"api      | {HELD_LINES - 1}" in shown
    assert any("5 lines left out" in line for line in shown)


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_closed_terminal_is_no_reason_to_stop() -> None:
    """`milepost up | head` keeps the jobs running."""
    terminal = Terminal(Closed(), colour=False)
    terminal.line("api", "lost")
    terminal.line("api", "lost too")
    terminal.close(wait_seconds=30)
    assert not terminal._writer.is_alive()


@pytest.mark.parametrize(("options", "shown"), [({"colour": False}, "worker   | hi\nhere\n"),
                                                ({"colour": True}, "\x1b[33mworker   |\x1b[0m hi\nhere\n"),
                                                ({"colour": False, "quiet": True}, "here\n")])  # fmt: skip
def test_prefix_colour_and_quiet(options: dict[str, Any], shown: str) -> None:
    """Who said it, in colour where wanted, and nothing of children when quiet."""
    out = io.StringIO()
    terminal = Terminal(out, **options)
    terminal.line("worker", "hi")
    terminal.plain("here")
    terminal.close(wait_seconds=30)
    assert out.getvalue() == shown


def test_the_password_of_the_embedded_redis_is_never_an_argument(tmp_path) -> None:
    """Other users can read command lines."""
    redis = EmbeddedRedis(tmp_path / "valkey-server", tmp_path / "data")
    command = redis.command({})
    password = redis.url.split(":")[2].split("@")[0]
    assert len(password) >= 24
    assert password in command.stdin.decode()
    assert not any(password in argument for argument in command.argv)
