"""Which submissions take the short way: the usual ones, and nothing that the route has words for."""

from __future__ import annotations

import pytest
from milepost_api.express import is_usual, read
from starlette.types import Message, Scope

LIMIT = 100


def scope(path: str = "/v1/jobs", method: str = "POST", root: str = "", **headers: str) -> Scope:
    sent = {"content_type": "application/json", "content_length": "20", **headers}
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in sent.items()]
    return {"type": "http", "method": method, "path": root + path, "root_path": root, "headers": raw}


@pytest.mark.parametrize(
    "usual",
    [
        scope(),
        scope(root="/below"),
        scope(content_type="Application/JSON; charset=utf-8"),
        scope(content_length=str(LIMIT)),
        scope(idempotency_key="k" * 255),
    ],
)
def test_a_usual_submission_is_taken(usual: Scope) -> None:
    """JSON of a small size, with one key or none."""
    assert is_usual(usual, LIMIT)


def test_two_keys_are_unusual() -> None:
    """Which of them counts is the route's business."""
    two = scope(idempotency_key="a")
    two["headers"].append((b"idempotency-key", b"b"))
    assert not is_usual(two, LIMIT)


@pytest.mark.parametrize(
    "unusual",
    [
        scope(method="GET"),
        scope("/v1/jobs/"),
        scope("/v1/jobs/cancel"),
        scope(content_type="text/plain"),
        scope(content_type="application/merge-patch+json"),
        scope(content_length="0"),
        scope(content_length=""),
        scope(content_length=str(LIMIT + 1)),
        scope(content_length="-5"),
        scope(content_length="\u00b2"),
        scope(idempotency_key=""),
        scope(idempotency_key="a b"),
        scope(idempotency_key="k" * 256),
        {"type": "lifespan"},
    ],
)
def test_whatever_is_unusual_goes_to_the_route(unusual: Scope) -> None:
    """There it is refused in words, or taken; one place decides."""
    assert not is_usual(unusual, LIMIT)


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_is_read_from_all_its_parts() -> None:
    """However the network cut it."""
    found = read([part(b'{"task"', more=True), part(b': "t"}')])
    assert found is not None
    assert found.task == "t"


@pytest.mark.parametrize(
    "came",
    [
        [part(b"{")],
        [part(b"[]")],
        [part(b"\xff")],
        [part(b"[" * 100_000)],
        [part(b'{"task": "t", "unknown": 1}')],
        [part(b'{"task": "t", "params": {"x": NaN}}')],
        [part(b'{"task": "t"}', more=True)],
        [part(b'{"task": "t"}', more=True), {"type": "http.disconnect"}],
    ],
)
def test_a_body_with_anything_wrong_is_left_to_the_route(came: list[Message]) -> None:
    """It has the words for it."""
    assert read(came) is None
