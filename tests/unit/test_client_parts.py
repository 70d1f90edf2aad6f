"""Addresses, calls and errors of the client: no I/O."""

from __future__ import annotations

import doctest
import importlib
import json

import pytest

from milepost.client import calls
from milepost.client.address import DEFAULT_URL, Address
from milepost.client.backoff import LONGEST_RETRY_AFTER_SECONDS, Backoff
from milepost.client.errors import BadAnswer, NotFound, Refused, Unauthorized, Unreachable, refusal
from milepost.errors import BadReport, JobNotFound, SettingsError
from milepost.problems import problem
from tests.support import story


@pytest.mark.parametrize("name", ["milepost.client.errors", "milepost.client.backoff"])
def test_examples_in_docstrings_are_true(name: str) -> None:
    """They are run."""
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


def test_a_problem_becomes_an_exception_that_says_its_detail() -> None:
    """The message is for people, `type` and `status` for programs."""
    body = json.dumps(problem("job-not-found", "There is no job 7.", hint=1)).encode()
    error = refusal(404, {}, body)
    assert isinstance(error, NotFound)
    assert isinstance(error, JobNotFound)
    assert (str(error), error.status, error.type) == (
        "There is no job 7.",
        404,
        "urn:milepost:problem:job-not-found",
    )
    assert error.problem["hint"] == 1


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"[1]", b'{"detail": 7}', b"\xff"])
def test_an_answer_without_a_problem_still_becomes_a_sentence(body: bytes) -> None:
    """A proxy's page is not shown; its status is."""
    error = refusal(502, {}, body)
    assert type(error) is Refused
    assert "502" in str(error)


def test_forbidden_and_unauthorized_are_one_thing_to_the_caller() -> None:
    """Both are about the key."""
    assert isinstance(refusal(401, {}, b""), Unauthorized)
    assert isinstance(refusal(403, {}, b""), Unauthorized)


def test_the_environment_says_where_the_server_is() -> None:
    """A parameter wins over it, and without either it is this machine."""
    environ = {"MILEPOST_URL": "https://m.example/base/", "MILEPOST_API_KEY": "k"}
    assert Address.find(environ=environ).url == "https://m.example/base"
    assert Address.find(environ=environ).headers == {"Authorization": "Bearer k"}
    assert Address.find("http://x", environ=environ).url == "http://x"
    assert Address.find(environ={}) == Address(DEFAULT_URL)
    assert Address.find(environ={}).headers == {}


@pytest.mark.parametrize(
    "url", ["m.example", "ftp://m.example", "http://", "http://x:99999", "http://[::1", "//x"]
)
def test_an_address_that_is_none_is_refused_with_a_sentence(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(SettingsError, match="MILEPOST_URL"):
        Address.find(url)


@pytest.mark.parametrize("key", ["a\nb", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    """It would fail in the depths of HTTP otherwise, and the sentence does not show it."""
    with pytest.raises(SettingsError) as raised:
        Address.find(api_key=key)
    assert key not in str(raised.value)


def test_the_key_is_not_shown() -> None:
    """Logs and tracebacks print objects."""
    assert "secret" not in repr(Address.find(api_key="secret"))


@pytest.mark.parametrize(
    ("url", "here"), [("http://127.0.0.1:1", True), ("http://[::1]:1", True), ("http://localhost", True),
                      ("http://localhost.example", False), ("http://10.0.0.1", False)]
)  # fmt: skip
def test_this_machine_is_known(url: str, here: bool) -> None:
    """No proxy of the environment leads to it."""
    assert Address.find(url).is_loopback is here


def test_every_submission_carries_a_key_of_its_own() -> None:
    """So that sending it again is safe; two submissions are two jobs."""
    keys = {calls.submit("t", {}, {}, None).headers["Idempotency-Key"] for _ in range(10)}
    assert len(keys) == 10
    assert calls.submit("t", {}, {}, "mine").headers["Idempotency-Key"] == "mine"


def test_params_that_json_cannot_say_are_refused_before_anything_is_sent() -> None:
    """NaN is not JSON."""
    with pytest.raises(BadReport):
        calls.submit("t", {"x": float("nan")}, {}, None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"items": 7}'])
def test_an_answer_of_another_shape_is_said_so(body: bytes) -> None:
    """Not a KeyError out of the depths."""
    with pytest.raises(BadAnswer):
        calls.jobs({}, oldest_first=False, limit=1, cursor=None).answer(body)
    with pytest.raises(BadAnswer):
        calls.get(story.JOB_ID).answer(body)


def test_fields_of_a_newer_server_are_passed_over() -> None:
    """Unknown fields are not an error."""
    wire = {"items": [{"name": "t", "new": 1}], "also": 2}
    (task,) = calls.tasks().answer(json.dumps(wire).encode())
    assert task.name == "t"


def test_a_server_cannot_make_a_client_wait_for_ever() -> None:
    """Retry-After is honoured up to five minutes."""
    wait = Backoff(chance=lambda: 0.0).next_seconds(asked_seconds=1e9)
    assert wait == LONGEST_RETRY_AFTER_SECONDS


def test_transient_says_what_may_pass() -> None:
    """The network may come back; a refusal may not."""
    assert Unreachable().transient
    assert not refusal(422, {}, b"").transient
