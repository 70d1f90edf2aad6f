"""Which requests take the short way to a stream: the usual ones, and nothing that the route has words for."""

from __future__ import annotations

import pytest
from milepost_api.shortcut import Asked, asked_for
from starlette.types import Scope

STREAM = "/v1/jobs/j-1/status/stream"


def scope(path: str = STREAM, query: str = "", method: str = "GET", root: str = "", **headers: str) -> Scope:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "method": method,
        "path": root + path,
        "root_path": root,
        "query_string": query.encode(),
        "headers": raw,
    }


def test_a_usual_request_is_understood_as_the_route_understands_it() -> None:
    """The header wins over the query; what is not given is the route's default."""
    assert asked_for(scope()) == Asked("j-1", "", None, None, 0)
    query = "last_event_id=a-1&events=status%2Clog&min_interval_ms=250"
    assert asked_for(scope(query=query)) == Asked("j-1", "", "a-1", "status,log", 250)
    given = scope(query=query, last_event_id="a-2", accept="text/event-stream")
    assert asked_for(given) == Asked("j-1", "text/event-stream", "a-2", "status,log", 250)
    assert asked_for(scope(root="/below")) == Asked("j-1", "", None, None, 0)


@pytest.mark.parametrize(
    "unusual",
    [
        scope(method="HEAD"),
        scope(method="POST"),
        scope("/v1/jobs/j-1/status"),
        scope("/v1/jobs/j-1/status/stream/"),
        scope("/v1/jobs/a b/status/stream"),
        scope("/v1/jobs/" + "x" * 65 + "/status/stream"),
        scope(query="min_interval_ms=-1"),
        scope(query="min_interval_ms=60001"),
        scope(query="min_interval_ms="),
        scope(query="min_interval_ms=\u0661"),
        scope(query="unknown=1"),
        {"type": "lifespan"},
    ],
)
def test_whatever_is_unusual_goes_to_the_route(unusual: Scope) -> None:
    """There it is refused in words, or ignored; one place decides."""
    assert asked_for(unusual) is None
