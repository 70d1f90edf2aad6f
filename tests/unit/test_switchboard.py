"""Bound functions that are pickled: where they lead, who is let in, and how long."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import pytest

from milepost import progress
from milepost.reporting import HERE, Place, Reporter
from milepost.reporting.bind import Bound
from milepost.reporting.switchboard import Line, Remote, StoppedElsewhere, Switchboard, switchboard_of
from tests.support.sinks import Notes


@pytest.fixture
def reporter() -> Iterator[Reporter]:
    reporter = Reporter(Notes())
    token = HERE.set(Place(reporter))
    yield reporter
    HERE.reset(token)
    if reporter.switchboard is not None:
        reporter.switchboard.close()


@pytest.fixture
def board(reporter: Reporter) -> Switchboard:
    return switchboard_of(reporter)


def shown(reporter: Reporter) -> Any:
    return reporter.meter.read(0)


def elsewhere(board: Switchboard, number: int = 0) -> Line:
    """What another process would have: a connection of its own."""
    return Line(board.address, board.key, number)


def count_for_ever(line: Line) -> None:
    with line.open():
        while True:
            progress.advance()


def test_a_bound_function_that_never_left_needs_no_connection(reporter: Reporter) -> None:
    """Pickled and unpickled in one process it is what it was."""
    with progress.step("resize"):
        bound = progress.bind(len)
        again = pickle.loads(pickle.dumps(bound))
    assert isinstance(bound, Bound)
    assert isinstance(again, Bound)
    assert again.place.step is bound.place.step
    assert again("four") == 4


def test_a_bound_function_goes_on_to_a_third_process(reporter: Reporter, board: Switchboard) -> None:
    """With the same address."""
    remote = Remote(len, "/elsewhere", board.key, 0)
    again = pickle.loads(pickle.dumps(remote))
    assert again.__reduce__() == remote.__reduce__()


def test_several_lines_count_together_and_none_is_cut_short(reporter: Reporter, board: Switchboard) -> None:
    """All that was said before the end is heard."""
    board.number(Place(reporter))
    lines = [elsewhere(board) for _ in range(3)]

    def count(line: Line) -> None:
        for _ in range(50):
            with line.open():
                progress.advance(2)

    threads = [threading.Thread(target=count, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    board.close()
    assert shown(reporter).current == 300


def test_reports_belong_to_the_step_that_was_bound(reporter: Reporter, board: Switchboard) -> None:
    """Not to the job as a whole."""
    with progress.step("resize"):
        place = HERE.get()
        assert place is not None
        line = elsewhere(board, board.number(place))
        with line.open():
            progress(3, 10, "resizing")
            assert progress.last_checkpoint is None
        board.close()
        assert (place.step.current, place.step.total) == (3, 10)
    assert shown(reporter).message == "resizing"


def test_a_stop_is_heard_and_arrives_as_an_exception(reporter: Reporter, board: Switchboard) -> None:
    """`Stopped` is none, and workers of a `multiprocessing.Pool` would hang on it."""
    board.number(Place(reporter))
    line = elsewhere(board)
    reporter.stop = "cancelled"
    with pytest.raises(StoppedElsewhere, match="cancelled"):
        count_for_ever(line)


def test_after_the_end_of_its_job_nothing_leads_anywhere(reporter: Reporter, board: Switchboard) -> None:
    """An open line is stopped, a new one refused with a sentence, and the socket is gone."""
    board.number(Place(reporter))
    line = elsewhere(board)
    board.close()
    with pytest.raises(StoppedElsewhere, match="ended"):
        count_for_ever(line)
    with pytest.raises(StoppedElsewhere, match="after its job had ended"):
        elsewhere(board)


def test_who_has_no_key_is_not_let_in(reporter: Reporter, board: Switchboard) -> None:
    """And whoever comes after is."""
    assert Path(board.address).parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client(board.address, "AF_UNIX", authkey=b"guessed")
    board.number(Place(reporter))
    with elsewhere(board).open():
        progress.advance()
    board.close()
    assert shown(reporter).current == 1


@pytest.mark.parametrize("said", [b"", b"x", b"7"])
def test_a_line_to_nowhere_is_cut(board: Switchboard, said: bytes) -> None:
    """A place that was never bound."""
    with Client(board.address, "AF_UNIX", authkey=board.key) as connection:
        connection.send_bytes(said)
        with pytest.raises((EOFError, OSError)):
            connection.recv_bytes()


def test_what_is_no_report_cuts_the_line(reporter: Reporter, board: Switchboard) -> None:
    """The job is not harmed."""
    board.number(Place(reporter))
    with Client(board.address, "AF_UNIX", authkey=board.key) as connection:
        connection.send_bytes(b"0")
        connection.recv_bytes()
        connection.send_bytes(b"garbage")
        with pytest.raises((EOFError, OSError)):
            connection.recv_bytes()
    assert shown(reporter).current is None
