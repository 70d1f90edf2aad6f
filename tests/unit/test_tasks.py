"""`@task`: what it takes, what it refuses, what it tells of a function."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from milepost import Retry, progress, task
from milepost.errors import BadReport, TaskDefinitionError
from milepost.plan import plan_from_source
from milepost.tasks import Options, Task


class Colour(enum.Enum):
    RED = "red"


class Point(BaseModel):
    x: int
    y: int = 0


@dataclasses.dataclass
class Box:
    width: float
    opened: dt.date


def made(function: Callable[..., Any], **options: Any) -> Task[..., Any]:
    """Make a task without offering it to anybody."""
    name = options.pop("name", "test.made")
    return Task(function, name, Options(**options))


# --- definitions ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """No test leaves a task behind."""
    registered: dict[str, Any] = {}
    monkeypatch.setattr("milepost.tasks.REGISTRY", registered)
    return registered


def plain(a: int, *, b: str = "x") -> str:
    """Join them."""
    return f"{a}{b}"


def test_a_task_is_still_the_function(registry: dict[str, Any]) -> None:
    """Called here and now, it runs here and now."""
    offered = task(plain)
    assert offered(1, b="y") == "1y"
    assert (offered.name, offered.description, offered.is_async) == ("plain", "Join them.", False)
    assert registry == {"plain": offered}


async def test_an_async_task_is_still_awaitable() -> None:
    """With or without options."""

    @task(name="async.one", timeout=3)
    async def one() -> int:
        return 1

    assert one.is_async
    assert await one() == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "no spaces"}, "is no task name"),
        ({"name": "-" + "x" * 128}, "is no task name"),
        ({"queue": "a b"}, "is no queue name"),
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"max_attempts": "3"}, "max_attempts is '3'"),
        ({"max_attempts": 1.5}, "max_attempts is 1.5"),
        ({"start_timeout": 0}, "start_timeout is 0, but it is seconds above 0"),
        ({"start_timeout": 2_592_001}, "at most 2,592,000"),
        ({"concurrency": 0}, "concurrency is 0, but one is the least"),
        ({"concurrency": True}, "concurrency is True"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": -1}, "timeout is -1"),
        ({"timeout": math.nan}, "timeout is nan"),
        ({"timeout": math.inf}, "timeout is inf"),
        ({"timeout": "10"}, "timeout is '10'"),
        ({"timeout": True}, "timeout is True"),
        ({"backoff": -1}, "backoff is -1"),
        ({"backoff": math.nan}, "backoff is nan"),
        ({"backoff_max": 1e9}, "backoff_max is 1000000000.0"),
        ({"retry_on": "ValueError"}, "which is no exception class"),
        ({"retry_on": [ValueError, 3]}, "retry_on names 3"),
        ({"retry_on": ValueError("x")}, "which is no exception class"),
        ({"process": "yes"}, "process is 'yes', but it is True or False"),
        ({"process": True, "memory_limit_mb": 0}, "memory_limit_mb is 0, but it is megabytes above 0"),
        ({"process": True, "memory_limit_mb": "1 GB"}, "memory_limit_mb is '1 GB'"),
        ({"process": True, "memory_limit_mb": math.inf}, "memory_limit_mb is inf"),
        ({"memory_limit_mb": 100}, "memory_limit_mb needs process=True"),
        ({"steps": {"a": -1}}, "maps names to weights"),
        ({"steps": {"a": math.nan}}, "maps names to weights"),
        ({"steps": {1: 1}}, "maps names to weights"),
    ],
)
def test_a_wrong_option_is_refused_with_a_sentence(
    registry: dict[str, Any], options: dict[str, Any], sentence: str
) -> None:
    """At import, and the task is not offered."""
    with pytest.raises(TaskDefinitionError, match=sentence):
        task(**options)(plain)
    assert registry == {}


def test_functions_that_cannot_be_called_by_name_are_refused() -> None:
    """Params come as a JSON object."""

    def many(*rows: int) -> None: ...
    def more(**rows: int) -> None: ...
    def first(a: int, /) -> None: ...

    for function, shown in ((many, r"\*rows"), (more, r"\*\*rows"), (first, "a")):
        with pytest.raises(TaskDefinitionError, match=f"parameter {shown}.*come by name"):
            task(function)


def test_functions_that_yield_are_refused() -> None:
    """Nobody would take what they yield."""

    def rows() -> Iterator[int]:
        yield 1

    async def async_rows() -> AsyncIterator[int]:
        yield 1

    for function in (rows, async_rows):
        with pytest.raises(TaskDefinitionError, match=r"yields.*progress.output"):
            task(function)


class Opaque:
    """Pydantic knows nothing of it."""


@pytest.mark.parametrize("hint", [Opaque, Callable[[], int], "NotThere"])
def test_hints_that_json_cannot_carry_are_refused_at_import(hint: Any) -> None:
    """Not at the first job."""

    def function(a: Any) -> None: ...

    function.__annotations__["a"] = hint
    with pytest.raises(TaskDefinitionError, match="type hint"):
        task(function)


def test_two_functions_of_one_name_are_refused_and_one_imported_twice_is_not() -> None:
    """Which of two would run is not for chance to say."""

    def other() -> None: ...

    task(name="same")(plain)
    task(name="same")(plain)
    with pytest.raises(TaskDefinitionError, match=r"Two tasks are named 'same'.*plain and .*other"):
        task(name="same")(other)


# --- params --------------------------------------------------------------------------------------


def rich(
    when: dt.datetime,
    limit: Annotated[int, Ge(1), Le(9)] = 3,
    colour: Colour = Colour.RED,
    point: Point | None = None,
    mode: Literal["a", "b"] = "a",
    json: str = "kept",
    copy: bool = False,
) -> None: ...


def test_params_are_converted_as_the_hints_say() -> None:
    """Names that pydantic keeps for itself included."""
    assert made(rich).arguments(
        {"when": "2026-01-31T12:00:00Z", "point": {"x": "1"}, "colour": "red", "json": "{}", "copy": True}
    ) == {
        "when": dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC),
        "limit": 3,
        "colour": Colour.RED,
        "point": Point(x=1),
        "mode": "a",
        "json": "{}",
        "copy": True,
    }


@pytest.mark.parametrize(
    "params",
    [{}, {"when": "soon"}, {"when": 0, "limit": 10}, {"when": 0, "mode": "c"}, {"when": 0, "extra": 1}],
)
def test_params_that_do_not_fit_are_refused(params: dict[str, Any]) -> None:
    """Also one that the function does not have."""
    with pytest.raises(ValidationError):
        made(rich).arguments(params)


def test_the_schema_shows_what_is_required_and_what_is_allowed() -> None:
    """As a form or a validator needs it."""
    schema = made(rich).params_schema
    assert schema["required"] == ["when"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["limit"] == {
        "default": 3,
        "maximum": 9,
        "minimum": 1,
        "title": "limit",
        "type": "integer",
    }
    assert list(schema["properties"]) == ["when", "limit", "colour", "point", "mode", "json", "copy"]


def test_a_default_is_not_shared_between_jobs() -> None:
    """A list that one job appends to is not the next one's."""

    def function(rows: list[int] = []) -> None: ...  # noqa: B006

    offered = made(function)
    offered.arguments({})["rows"].append(1)
    assert offered.arguments({})["rows"] == []


# --- results -------------------------------------------------------------------------------------


def test_results_are_written_as_the_hint_says() -> None:
    """A dataclass, a date, an enum become what JSON has."""

    def function() -> Box:
        raise NotImplementedError

    assert made(function).result_json(Box(1.5, dt.date(2026, 1, 31))) == '{"width":1.5,"opened":"2026-01-31"}'
    assert made(function).result_schema["properties"]["opened"] == {
        "format": "date",
        "title": "Opened",
        "type": "string",
    }


@pytest.mark.parametrize(
    "value",
    [object(), math.nan, math.inf, {"a": math.nan}, lambda: 1, 10**5000],
    ids=lambda v: type(v).__name__,
)
def test_results_that_cannot_be_sent_are_refused_with_a_sentence(value: Any) -> None:
    """Before the job is called a success."""

    def function(): ...

    with pytest.raises(BadReport):
        made(function).result_json(value)


def test_a_result_of_enormous_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs into a store, and its place into the result."""
    monkeypatch.setattr("milepost.tasks.RESULT_BYTES", 100)
    assert len(made(plain).result_json("x" * 98)) == 100
    with pytest.raises(BadReport, match=r"101 bytes of JSON; 100 are the most.*return where it is"):
        made(plain).result_json("x" * 99)


def test_a_result_hint_without_a_schema_is_no_reason_to_refuse_a_task() -> None:
    """The catalogue then says nothing of the result."""

    def opaque() -> Opaque:
        raise NotImplementedError

    def called() -> Callable[[], int]:
        raise NotImplementedError

    assert made(opaque).result_schema == {}
    assert made(called).result_schema == {}


# --- retries -------------------------------------------------------------------------------------


@given(
    st.integers(1, 10_000),
    st.floats(0, 2_592_000),
    st.floats(0, 2_592_000),
    st.floats(0, 1, exclude_max=True),
)
def test_the_delay_lies_between_nothing_and_the_maximum(
    attempt: int, backoff: float, most: float, chance: float
) -> None:
    """However often it failed before."""
    delay = Options(backoff=backoff, backoff_max=most).retry_delay(attempt, lambda: chance)
    assert 0 <= delay <= most


def test_the_delay_doubles_up_to_the_maximum() -> None:
    """Without the jitter."""
    options = Options(backoff=2, backoff_max=10)
    assert [options.retry_delay(n, lambda: 1.0) for n in range(1, 6)] == [2, 4, 8, 10, 10]


@pytest.mark.parametrize("after", [-1, math.nan, math.inf, "5", True, 2_592_001])
def test_a_wish_for_an_impossible_delay_is_refused_where_it_is_made(after: Any) -> None:
    """The sentence then is the job's error."""
    with pytest.raises(ValueError, match="give seconds from 0 to 2,592,000"):
        Retry(after=after)


# --- plans ---------------------------------------------------------------------------------------


def helped() -> None: ...


def weighted() -> None:
    with progress.step("a", weight=2):
        helped()
        with progress.step("inner"):
            pass
    if plain(1):
        with progress.step("b"), nullcontext():
            helped()
            with progress.step("also inner"):
                pass
    try:
        with progress.step("c", weight=0.5):
            pass
    finally:
        pass


async def asynchronous() -> None:
    async with one_lock:  # type: ignore[name-defined]  # noqa: F821
        with progress.step("a"):
            pass


def in_a_loop() -> None:
    with progress.step("a"):
        pass
    while plain(1):
        with progress.step("b"):
            pass


def computed() -> None:
    with progress.step("a"):
        pass
    with progress.step(f"b {plain}"):
        pass


def computed_weight() -> None:
    with progress.step("a", weight=len("xx")):
        pass


def text_weight() -> None:
    with progress.step("a", weight="heavy"):  # type: ignore[arg-type]
        pass


def unhashable() -> None:
    with progress.step(["a"]):  # type: ignore[arg-type]
        pass


def twice() -> None:
    with progress.step("a"):
        pass
    with progress.step("a"):
        pass


def in_a_helper() -> None:
    def helper() -> None:
        with progress.step("a"):
            pass

    helper()


@pytest.mark.parametrize(
    ("function", "plan"),
    [
        (weighted, {"a": 2.0, "b": 1.0, "c": 0.5}),
        (asynchronous, {"a": 1.0}),
        (in_a_loop, {}),
        (computed, {}),
        (computed_weight, {}),
        (text_weight, {}),
        (unhashable, {}),
        (twice, {}),
        (in_a_helper, {}),
        (plain, {}),
        (len, {}),
        (eval("lambda: 1"), {}),
    ],
)
def test_a_plan_is_read_from_plain_source_and_from_no_other(
    function: Callable[..., Any], plan: dict[str, float]
) -> None:
    """A wrong plan is worse than none."""
    assert plan_from_source(function) == plan


def test_a_given_plan_wins() -> None:
    """Also an empty one."""
    assert made(weighted, steps={"x": 1}).plan == {"x": 1}
    assert made(weighted, steps={}).plan == {}
