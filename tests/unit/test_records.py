"""Records of `logging` as lines for those who watch the job."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from milepost import ProgressHandler, progress
from milepost.errors import StoreUnavailable
from milepost.reporting import HERE, Place, Reporter, capture_logs
from milepost.reporting.records import RECORD_CHARACTERS
from tests.support.sinks import Notes


@pytest.fixture
def sink() -> Notes:
    return Notes()


@pytest.fixture
def here(sink: Notes) -> Iterator[Reporter]:
    """Inside a job."""
    reporter = Reporter(sink)
    token = HERE.set(Place(reporter))
    yield reporter
    HERE.reset(token)


@pytest.fixture
def logger() -> logging.Logger:
    """A library's logger with the handler, which hears everything; pytest's own handlers do not."""
    logger = logging.Logger("shop.orders")  # noqa: LOG001 -- one that nothing else hears of
    logger.addHandler(ProgressHandler())
    return logger


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (5, "debug"),
        (10, "debug"),
        (20, "info"),
        (25, "info"),
        (30, "warning"),
        (40, "error"),
        (50, "critical"),
        (99, "critical"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_record_is_a_line_with_its_level_and_its_logger(
    sink: Notes, logger: logging.Logger, number: int, level: str
) -> None:
    """Levels of one's own are the next one below."""
    logger.log(number, "order %d of %s", 3, "Ada")
    assert sink.of("log") == [[level, "order 3 of Ada", "shop.orders"]]


@pytest.mark.usefixtures("here")
def test_the_text_of_an_exception_is_part_of_the_line(sink: Notes, logger: logging.Logger) -> None:
    """The line says what happened, and where."""
    try:
        raise LookupError("no such row")
    except LookupError:
        logger.exception("cannot go on")
    [[level, message, _]] = sink.of("log")
    assert level == "error"
    assert message.startswith("cannot go on\nTraceback (most recent call last):\n")
    assert message.endswith("LookupError: no such row")


def test_outside_a_job_nothing_happens(logger: logging.Logger) -> None:
    """Nor in a thread that knows nothing of the job."""
    assert HERE.get() is None
    logger.warning("hello")


def test_a_thread_outside_of_the_job_reports_nothing(
    here: Reporter, sink: Notes, logger: logging.Logger
) -> None:
    """A bound function does."""
    for work in (logger.warning, progress.bind(logger.warning)):
        thread = threading.Thread(target=contextvars.Context().run, args=(work, "hello"))
        thread.start()
        thread.join()
    assert sink.of("log") == [["warning", "hello", "shop.orders"]]


@pytest.mark.parametrize("name", ["milepost.courier", "milepost_worker", "arq.worker", "redis", "asyncio"])
@pytest.mark.usefixtures("here")
def test_what_the_machinery_logs_is_not_the_jobs(sink: Notes, name: str) -> None:
    """Reporting it could make it log again."""
    ProgressHandler().handle(logging.LogRecord(name, logging.ERROR, "", 0, "trouble", (), None))
    assert sink.told == []


@pytest.mark.usefixtures("here")
def test_a_name_that_only_begins_like_the_machinerys_is_the_jobs(sink: Notes) -> None:
    """`redisson` is somebody's library."""
    ProgressHandler().handle(logging.LogRecord("redisson.x", logging.INFO, "", 0, "hello", (), None))
    assert sink.of("log") == [["info", "hello", "redisson.x"]]


@pytest.mark.usefixtures("here")
def test_an_object_that_logs_while_it_is_written_makes_no_circle(sink: Notes, logger: logging.Logger) -> None:
    """Its own record is left out."""

    class Talkative:
        def __str__(self) -> str:
            logger.info("I am being written: %s", "again")
            return "talkative"

    logger.warning("%s", Talkative())
    assert sink.of("log") == [["warning", "talkative", "shop.orders"]]


@pytest.mark.usefixtures("here")
def test_a_long_record_loses_its_middle(sink: Notes, logger: logging.Logger) -> None:
    """Where it begins and where it ends is what one wants to know."""
    logger.info("%s", "begin" + "x" * 1_000_000 + "end")
    [[_, message, _]] = sink.of("log")
    assert message.startswith("beginxx")
    assert message.endswith("xxend")
    assert "\n[980,008 characters left out]\n" in message
    assert len(message) < RECORD_CHARACTERS + 100


def test_a_stopped_task_may_still_log(here: Reporter, sink: Notes, logger: logging.Logger) -> None:
    """`Stopped` does not come out of code that only logs, a library's clean-up for one."""
    here.stop = "cancelled"
    logger.info("rolling back")
    assert sink.of("log") == [["info", "rolling back", "shop.orders"]]


@pytest.mark.usefixtures("here")
def test_what_goes_wrong_is_told_on_stderr_and_raised_to_nobody(
    sink: Notes, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong format, or a Redis that takes nothing for a minute."""
    monkeypatch.setattr(logging, "raiseExceptions", True)
    logger.info("%d", "no number")

    def full(*_: Any) -> None:
        raise StoreUnavailable("Redis has not taken any.")

    monkeypatch.setattr(sink, "log", full)
    logger.info("lost")
    told = capsys.readouterr().err
    assert "TypeError: %d format" in told
    assert "StoreUnavailable: Redis has not taken any." in told


@pytest.mark.usefixtures("here")
def test_a_filter_and_a_format_are_obeyed(sink: Notes) -> None:
    """It is a handler like every other."""
    handler = ProgressHandler(logging.INFO)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger = logging.Logger("shop")  # noqa: LOG001 -- one that nothing else hears of
    logger.addHandler(handler)
    logger.debug("too low")
    logger.info("a secret")
    logger.info("hello")
    assert sink.of("log") == [["info", "INFO: hello", "shop"]]


def test_a_job_that_waits_for_room_holds_up_no_other_thread(sink: Notes, logger: logging.Logger) -> None:
    """The handler has no lock: another job's thread logs while this one's waits."""
    waiting, go = threading.Event(), threading.Event()

    class Full(Notes):
        def log(self, level: str, message: str, source: str | None) -> None:
            waiting.set()
            assert go.wait(60)

    def work(mine: Notes) -> None:
        HERE.set(Place(Reporter(mine)))
        logger.info("hello")

    held_up = threading.Thread(target=work, args=(Full(),))
    held_up.start()
    assert waiting.wait(60)
    other = threading.Thread(target=work, args=(sink,))
    other.start()
    other.join(60)
    assert sink.of("log") == [["info", "hello", "shop.orders"]]
    go.set()
    held_up.join()


@pytest.mark.usefixtures("here")
def test_capturing_adds_to_what_the_root_logger_does(sink: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debug lines become events without filling the worker's own log."""
    root = logging.RootLogger(logging.WARNING)
    console = logging.Handler()
    shown: list[str] = []
    monkeypatch.setattr(console, "emit", lambda record: shown.append(record.getMessage()))
    root.addHandler(console)
    monkeypatch.setattr(logging, "getLogger", lambda name=None: root)
    capture_logs("debug")
    root.debug("fine")
    root.error("bad")
    assert shown == ["bad"]
    assert [message for _, message, _ in sink.of("log")] == ["fine", "bad"]
