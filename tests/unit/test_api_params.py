"""Params against the schema of their task, in sentences."""

from __future__ import annotations

from typing import Any

import pytest
from milepost_api.params import ParamsCheck
from milepost_api.prefer import wait_seconds
from milepost_api.problems import Problem

from milepost.log import TaskInfo


def errors(schema: dict[str, Any], params: dict[str, Any]) -> dict[str, str]:
    try:
        ParamsCheck(TaskInfo(name="t", params_schema=schema))(params)
    except Problem as problem:
        return {one["path"]: one["detail"] for one in problem.extra["errors"]}
    return {}


def one(**schema: Any) -> dict[str, Any]:
    return {"properties": {"a": schema}}


@pytest.mark.parametrize(
    ("schema", "value", "sentence"),
    [
        (one(type="integer"), "x", 'Should be integer, is "x".'),
        (one(type=["integer", "null"]), 1.5, "Should be integer or null, is 1.5."),
        (one(enum=["x", "y"]), "z", 'Should be one of "x", "y", is "z".'),
        (one(minimum=1), 0, "Should be at least 1, is 0."),
        (one(exclusiveMaximum=1), 1, "Should be less than 1, is 1."),
        (one(maxLength=2), "abc", "Should be at most 2 long, is 3."),
        (one(pattern="^a$"), "b", "Should match '^a$', is \"b\"."),
        (one(format="date"), "2026-02-30", 'Should be a valid date, is "2026-02-30".'),
        (
            one(format="date-time"),
            "2026-02-01T25:00:00Z",
            'Should be a valid date-time, is "2026-02-01T25:00:00Z".',
        ),
        (one(format="time"), "25:00", 'Should be a valid time, is "25:00".'),
        (
            one(anyOf=[{"type": "integer"}, {"type": "null"}]),
            "b",
            'Fits none of what is allowed here, is "b".',
        ),
        (one(type="object"), None, "Should be object, is null."),
    ],
)
def test_each_error_is_a_sentence(schema: dict[str, Any], value: object, sentence: str) -> None:
    """It says what should be there and what is."""
    assert errors(schema, {"a": value}) == {"$.params.a": sentence}


def test_every_error_has_its_own_path() -> None:
    """Missing, unknown and nested errors are listed together."""
    schema = {
        "properties": {"rows": {"items": {"type": "integer"}}, "b": {}, "c": {}},
        "required": ["b", "c"],
        "additionalProperties": False,
    }
    found = errors(schema, {"rows": [1, "x"], "zzz": 1})
    assert set(found) == {"$.params.rows[1]", "$.params.b", "$.params.c", "$.params.zzz"}
    assert found["$.params.zzz"] == "There is no such param. This task takes b, c, rows."


def test_a_large_value_is_not_repeated_in_the_answer() -> None:
    """A megabyte of wrong text costs a line."""
    [sentence] = errors(one(type="integer"), {"a": "x" * 1_000_000}).values()
    assert len(sentence) < 300


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"$ref": "http://127.0.0.1:9/s"}, {"$ref": "#/nowhere"}]
)
def test_a_schema_that_is_wrong_locks_nobody_out_and_fetches_nothing(schema: dict[str, Any]) -> None:
    """A mistake of the task's author is logged; the worker still checks."""
    assert errors(schema, {"a": 1}) == {}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (["wait=5"], 5),
        (["respond-async, WAIT = 5; x=y"], 5),
        (["respond-async", 'wait="7"'], 7),
        (["wait=999999999999999999"], 60),
        (["wait=-1"], None),
        (["wait=x"], None),
        (["wait"], None),
        ([], None),
    ],
)
def test_a_preference_is_understood_or_ignored(header: list[str], seconds: float | None) -> None:
    """RFC 7240: a preference that cannot be honoured is no error."""
    assert wait_seconds(header, 60) == seconds
