"""Problem types: the names that API clients switch on."""

from __future__ import annotations

import json

import pytest

from milepost.problems import PROBLEM_TYPES, TYPE_PREFIX, problem


@pytest.mark.parametrize("name", PROBLEM_TYPES)
def test_a_problem_is_a_whole_document(name: str) -> None:
    """RFC 9457: type, title, status and detail, and what the caller adds."""
    document = problem(name, "Do that.", instance="/v1/jobs/1", errors=[{"path": "/a"}])
    kind = PROBLEM_TYPES[name]
    assert json.loads(json.dumps(document)) == {
        "type": f"urn:milepost:problem:{name}",
        "title": kind.title,
        "status": kind.status,
        "detail": "Do that.",
        "instance": "/v1/jobs/1",
        "errors": [{"path": "/a"}],
    }


def test_types_are_urns_of_errors_with_titles_that_are_phrases() -> None:
    """A type stays the same wherever Milepost is served; a title does not depend on the occurrence."""
    for name, kind in PROBLEM_TYPES.items():
        assert kind.name == name
        assert kind.uri == TYPE_PREFIX + name
        assert 400 <= kind.status < 600
        assert kind.title[0].isupper()
        assert not kind.title.endswith(".")


def test_an_unknown_problem_is_a_bug() -> None:
    """Nobody can invent a type in passing."""
    with pytest.raises(KeyError):
        problem("nonsense", "x")


def test_without_an_instance_there_is_none() -> None:
    """A null would be a relative URL."""
    assert "instance" not in problem("not-found", "There is no such page.")
