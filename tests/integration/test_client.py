"""Both clients against a server that misbehaves: one suite, two drivers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from milepost.client import (
    AsyncClient,
    Client,
    Conflict,
    Connection,
    Gone,
    Invalid,
    NotFound,
    Unauthorized,
    Unreachable,
)
from milepost.client.backoff import Backoff
from milepost.events import Ended, Reconnect, Snapshot
from milepost.job import Status
from milepost.problems import problem
from tests.support import story
from tests.support.scripted import Answer, ScriptedServer, answer_json, answer_stream, hang_up

STORY = story.whole_story()


class Driver:
    """Calls either client in the same words; `waits` is what it would have slept."""

    def __init__(self, kind: str) -> None:
        self.kind, self.waits = kind, list[float]()
        self.connections: list[Connection] = []

    def options(self, **more: Any) -> dict[str, Any]:
        async def async_sleep(seconds: float) -> None:
            self.waits.append(seconds)

        sleep: Callable[[float], Any] = async_sleep if self.kind == "async" else self.waits.append
        return {"sleep": sleep, "backoff": lambda: Backoff(base_seconds=1, chance=lambda: 0.5), **more}

    def call(self, url: str, name: str, *args: Any, client: dict[str, Any] | None = None, **kw: Any) -> Any:
        """Call a method and return its answer."""
        options = self.options(**(client or {}))
        if self.kind == "sync":
            with Client(url, **options) as plain:
                return getattr(plain, name)(*args, **kw)

        async def run() -> Any:
            async with AsyncClient(url, **options) as aio:
                return await getattr(aio, name)(*args, **kw)

        return asyncio.run(run())

    def each(
        self, url: str, name: str, *args: Any, client: dict[str, Any] | None = None, **kw: Any
    ) -> list[Any]:
        """Iterate over a method and return all it yields."""
        options = self.options(**(client or {}))
        kw = {"on_connection": self.connections.append, **kw}
        if self.kind == "sync":
            with Client(url, **options) as plain:
                return list(getattr(plain, name)(*args, **kw))

        async def run() -> list[Any]:
            async with AsyncClient(url, **options) as aio, aclosing(getattr(aio, name)(*args, **kw)) as items:
                return [item async for item in items]

        return asyncio.run(run())


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


def server(*answers: Answer) -> ScriptedServer:
    return ScriptedServer(list(answers))


def test_follows_from_the_first_event_to_the_end_and_stops(driver: Driver) -> None:
    """One connection, every event, no other request."""
    with server(answer_stream(story.stream(*STORY, retry_ms=2000), "finish")) as there:
        assert driver.each(there.url, "follow", story.JOB_ID) == STORY
        assert [request.path for request in there.requests] == [f"/v1/jobs/{story.JOB_ID}/status/stream"]
    assert driver.waits == []
    assert there.requests[0].headers["accept"] == "text/event-stream"


def test_ends_by_itself_though_the_server_does_not_close(driver: Driver) -> None:
    """`end` ends it, not the connection."""
    with server(answer_stream(story.stream(*STORY), "mute")) as there:
        assert driver.each(there.url, "follow", story.JOB_ID) == STORY


@pytest.mark.parametrize("how", ["finish", "close", "reset"])
@pytest.mark.parametrize("cut", [0, 1, 700, 1500, 2222])
def test_comes_back_with_its_cursor_however_the_connection_was_lost(
    driver: Driver, how: str, cut: int
) -> None:
    """Nothing is lost, nothing seen twice."""
    first = story.stream(*STORY)[:cut]
    seen = [
        event
        for event in STORY
        if story.stream(*STORY[: event.seq]) == first[: len(story.stream(*STORY[: event.seq]))]
    ]
    rest = STORY[len(seen) :]
    with server(answer_stream(first, how), answer_stream(story.stream(*rest), "finish")) as there:
        assert driver.each(there.url, "follow", story.JOB_ID) == STORY
    if how != "reset":  # a reset may overtake the bytes before it; then more is sent again, which is as good
        assert there.requests[1].headers.get("last-event-id") == (seen[-1].cursor if seen else None)
    assert driver.waits == [0.5]


def test_outlasts_a_server_that_is_unwell_for_a_while(driver: Driver) -> None:
    """503, a closed connection and a bad gateway are waited out; the caller is told of each."""
    unwell = answer_json(503, problem("unavailable", "Redis is away."), {"Retry-After": "2"})
    gateway = answer_json(502, "no")
    with server(unwell, hang_up, gateway, answer_stream(story.stream(*STORY), "finish")) as there:
        assert driver.each(there.url, "follow", story.JOB_ID) == STORY
    assert driver.waits == [2.5, 1.0, 2.0]
    assert [one.is_open for one in driver.connections] == [False, False, False, True]
    assert str(driver.connections[0].error) == "Redis is away."
    assert driver.connections[0].retry_seconds == 2.5


def test_a_mute_connection_is_given_up_for_a_new_one(driver: Driver) -> None:
    """The watchdog counts bytes: a proxy that went mute raises nothing by itself."""
    with server(
        answer_stream(story.stream(*STORY[:3]), "mute"), answer_stream(story.stream(*STORY[3:]), "finish")
    ) as there:
        assert driver.each(there.url, "follow", story.JOB_ID, client={"silence_seconds": 0.3}) == STORY
    assert there.requests[1].headers["last-event-id"] == STORY[2].cursor
    assert "nothing was heard" in str(next(one.error for one in driver.connections if one.error))


def test_a_drain_is_followed_by_the_wait_that_the_server_asked_for(driver: Driver) -> None:
    """`reconnect` is not an end."""
    leaving = story.stream(*STORY[:2], Reconnect(reason="shutdown", retry_ms=3210))
    with server(answer_stream(leaving, "finish"), answer_stream(story.stream(*STORY[2:]), "finish")) as there:
        assert driver.each(there.url, "follow", story.JOB_ID) == STORY
    assert driver.waits == [3.21]


def test_204_reads_the_job_once(driver: Driver) -> None:
    """A cursor at the end yields what the job is, and ends."""
    done = story.job(status=Status.SUCCEEDED, done=True, version=7, result=10)
    with server(answer_json(204, None), answer_json(200, done.to_wire())) as there:
        (event,) = driver.each(there.url, "follow", story.JOB_ID, after="k3v9x2ab-7")
    assert isinstance(event, Snapshot)
    assert event.job == done
    assert [request.path for request in there.requests][1] == f"/v1/jobs/{story.JOB_ID}"


def test_watch_yields_the_job_after_each_event(driver: Driver) -> None:
    """Folded, up to the end."""
    with server(answer_stream(story.stream(*STORY), "finish")) as there:
        jobs = driver.each(there.url, "watch", story.JOB_ID)
    assert [job.version for job in jobs] == [1, 2, 3, 4, 5, 6, 7]
    assert [job.progress.current for job in jobs[2:6]] == [3, 4, 5, 6]
    assert (jobs[-1].status, jobs[-1].done, jobs[-1].result) == (Status.SUCCEEDED, True, 10)


def test_wait_returns_the_job_as_it_ended(driver: Driver) -> None:
    """A failed job is an outcome, not an exception."""
    failed = story.stream(STORY[0], story.ended(2, Status.FAILED))
    with server(answer_stream(failed, "finish")) as there:
        assert driver.call(there.url, "wait", story.JOB_ID).status is Status.FAILED


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthorized), (403, Unauthorized), (404, NotFound), (410, Gone), (422, Invalid)],
)
def test_what_waiting_cannot_mend_ends_the_following(
    driver: Driver, status: int, kind: type[Exception]
) -> None:
    """At once, with the sentence of the server, also after a connection that worked."""
    refused = answer_json(status, {"detail": "Not for you."})
    with server(answer_stream(story.stream(*STORY[:2]), "close"), refused) as there:
        with pytest.raises(kind, match="Not for you"):
            driver.each(there.url, "follow", story.JOB_ID)
        assert len(there.requests) == 2


def test_gives_up_when_told_so(driver: Driver) -> None:
    """Otherwise a server that is gone for good would be waited for, for ever."""
    with server() as gone:
        url = gone.url
    with pytest.raises(Unreachable, match="nothing accepts connections"):
        driver.each(url, "follow", story.JOB_ID, give_up_seconds=0)


def test_a_submission_is_sent_again_with_the_same_key(driver: Driver) -> None:
    """A lost answer does not start a second job."""
    accepted = answer_json(202, story.job().to_wire())
    with server(hang_up, answer_json(503, {"detail": "later"}), accepted) as there:
        job = driver.call(there.url, "submit", "demo.count", {"steps": 3}, tags=["a"], delay_seconds=2)
    assert job == story.job()
    assert len({request.headers["idempotency-key"] for request in there.requests}) == 1
    assert [json.loads(request.body) for request in there.requests] == [
        {"task": "demo.count", "params": {"steps": 3}, "tags": ["a"], "delay_seconds": 2}
    ] * 3


def test_a_refused_submission_is_not_sent_again(driver: Driver) -> None:
    """Its sentence is the message."""
    refused = answer_json(422, problem("unknown-task", "No worker offers 'x'."))
    with server(refused) as there, pytest.raises(Invalid, match="No worker offers 'x'"):
        driver.call(there.url, "submit", "x")
    assert len(there.requests) == 1


def test_three_failures_are_enough_for_a_plain_call(driver: Driver) -> None:
    """Who asks once wants an answer now."""
    with server(hang_up, hang_up, hang_up) as there, pytest.raises(Unreachable):
        driver.call(there.url, "get", story.JOB_ID)
    assert driver.waits == [0.5, 1.0]


def test_a_plain_call_does_not_wait_minutes_because_the_server_says_so(driver: Driver) -> None:
    """The caller may know something better to do."""
    busy = answer_json(429, {"detail": "Too many."}, {"Retry-After": "120"})
    with server(busy) as there, pytest.raises(Exception, match="Too many"):
        driver.call(there.url, "get", story.JOB_ID)
    assert driver.waits == []


def test_the_key_and_the_path_of_the_address_are_used_everywhere(driver: Driver) -> None:
    """Milepost may live below a path."""
    client = {"api_key": "k"}
    with server(answer_json(200, {"items": []})) as there:
        driver.call(f"{there.url}/base/", "list", status=["queued", "running"], tag="a&b", client=client)
    (request,) = there.requests
    assert request.path == "/base/v1/jobs"
    assert sorted(request.query) == [
        ("limit", "50"),
        ("status", "queued"),
        ("status", "running"),
        ("tag", "a&b"),
    ]
    assert request.headers["authorization"] == "Bearer k"


def test_the_smaller_calls_read_what_the_api_answers(driver: Driver) -> None:
    """Cancel, result, tasks, events."""
    page = {
        "items": [{"type": "new"}, *json.loads(json.dumps([_wire(STORY[-1])]))],
        "next": "e-7",
        "more": True,
    }
    with server(
        answer_json(200, {"id": story.JOB_ID, "outcome": "requested"}),
        answer_json(200, [1, None]),
        answer_json(200, {"items": [{"name": "demo.count", "workers": 2}]}),
        answer_json(200, page),
        answer_json(409, problem("not-ready", "Not yet.")),
    ) as there:
        assert driver.call(there.url, "cancel", story.JOB_ID) == "requested"
        assert driver.call(there.url, "result", story.JOB_ID) == [1, None]
        assert [(task.name, task.workers) for task in driver.call(there.url, "tasks")] == [("demo.count", 2)]
        events = driver.call(there.url, "events", story.JOB_ID, after="e-6", limit=5)
        with pytest.raises(Conflict, match="Not yet"):
            driver.call(there.url, "result", story.JOB_ID)
    assert (events.items, events.next, events.more, events.gap) == ((STORY[-1],), "e-7", True, None)
    assert isinstance(events.items[0], Ended)
    assert there.requests[3].query == [("limit", "5"), ("after", "e-6")]


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(driver: Driver, monkeypatch) -> None:
    """HTTP_PROXY is for the outside."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with server(answer_json(200, story.job().to_wire())) as there:
        assert driver.call(there.url, "get", story.JOB_ID) == story.job()


def test_breaking_off_closes_the_connection() -> None:
    """A watcher that loses interest leaves nothing open."""
    with server(answer_stream(story.stream(*STORY[:3]), "mute")) as there, Client(there.url) as client:
        events = client.follow(story.JOB_ID)
        assert next(events) == STORY[0]
        events.close()
    # leaving the server joins its threads: the mute one returns when the client has hung up


def test_the_client_needs_nothing_of_the_server() -> None:
    """A client install has neither Redis nor pydantic; importing the package loads not even HTTP."""
    code = (
        "import sys, milepost.client as c; early = set(sys.modules); c.Client; c.AsyncClient;"
        "print(sorted(m for m in ('httpx2',) if m in early),"
        "sorted(m for m in ('redis', 'arq', 'pydantic', 'fastapi') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout == "[] []\n"


def _wire(event: Any) -> dict[str, Any]:
    from milepost.events import to_wire

    return {
        name: getattr(value, "to_wire", lambda value=value: value)() for name, value in to_wire(event).items()
    }
