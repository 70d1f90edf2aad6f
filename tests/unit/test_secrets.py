"""Secrets among params: where they are marked, and that no encoding of them gets through."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Annotated, Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr

from milepost.job import JobError, Progress, Step, StepRef
from milepost.log.calls import ReportCalls
from milepost.secrets import HIDDEN, Mask, Masks, has_secrets, redacted, secrets_in
from milepost.secrets.marking import secrets_of
from milepost.secrets.mask import CUT_CHARACTERS, SHORTEST_CHARACTERS
from milepost.tasks import Options, Task
from tests.support import strategies as some

SECRET: dict[str, Any] = {"type": "string", "writeOnly": True}
secrets = st.text(
    st.characters(codec="utf-8", exclude_characters="*"), min_size=SHORTEST_CHARACTERS, max_size=40
).filter(lambda text: len(text.strip()) >= SHORTEST_CHARACTERS)


class Nested(BaseModel):
    user: str
    password: SecretStr


@dataclasses.dataclass
class Plain:
    keys: list[SecretStr]


def offered(function: Any) -> Task[..., Any]:
    return Task(function, "secretive", Options())


def task_with_all(
    a: SecretStr,
    b: SecretBytes | None,
    c: Secret[int],
    d: Nested,
    e: list[Nested],
    f: Plain,
    g: Secret[Nested],
    h: Annotated[SecretStr, Field(min_length=4)] = SecretStr("a default"),  # noqa: B008
    i: str = "public",
) -> None: ...


PARAMS = {
    "a": "secret-a",
    "b": "secret-b",
    "c": 123456,
    "d": {"user": "u", "password": "secret-d"},
    "e": [{"user": "u", "password": "secret-e"}],
    "f": {"keys": ["secret-f"]},
    "g": {"user": "secret-g", "password": "secret-h"},
    "i": "public",
}


def test_every_kind_of_secret_is_marked_wherever_it_nests() -> None:
    """In models, lists, dataclasses and unions; what stands beside one is left as it is."""
    task = offered(task_with_all)
    assert redacted(PARAMS, task.params_schema) == {
        "a": HIDDEN,
        "b": HIDDEN,
        "c": HIDDEN,
        "d": {"user": "u", "password": HIDDEN},
        "e": [{"user": "u", "password": HIDDEN}],
        "f": {"keys": [HIDDEN]},
        "g": HIDDEN,
        "i": "public",
    }
    assert "secret" not in repr(redacted(PARAMS, task.params_schema))
    assert has_secrets(task.params_schema)


def test_what_the_schema_marks_is_what_the_hints_hide() -> None:
    """Read from the params, and from the arguments that were made of them."""
    task = offered(task_with_all)
    marked = Mask(secrets_in(PARAMS, task.params_schema))
    hidden = Mask(secrets_of(task.arguments(PARAMS)))
    for mask in (marked, hidden):
        assert (
            mask.text(" ".join(f"secret-{letter}" for letter in "abdefgh") + " 123456") == "*** " * 7 + HIDDEN
        )
    assert hidden.text("a default") == HIDDEN


def test_a_default_that_is_secret_is_not_announced() -> None:
    """Nor the asterisks that pydantic puts in its place: a form would send them."""
    schema = offered(task_with_all).params_schema
    assert "default" not in schema["properties"]["h"]
    assert schema["properties"]["i"]["default"] == "public"
    assert "h" not in schema["required"]


def test_a_task_without_secrets_has_no_mask() -> None:
    """It costs nothing."""

    def plain(name: str) -> None: ...

    assert offered(plain).mask({"name": "x"}) is None


@pytest.mark.parametrize(
    ("schema", "params", "shown"),
    [
        ({"properties": {"a": SECRET}}, {"a": {"deep": ["x"]}}, {"a": HIDDEN}),
        ({"properties": {"a": SECRET}}, {"a": None, "b": 1}, {"a": None, "b": 1}),
        ({"additionalProperties": SECRET}, {"any": "x"}, {"any": HIDDEN}),
        ({"patternProperties": {"_key$": SECRET}}, {"my_key": "x", "y": "y"}, {"my_key": HIDDEN, "y": "y"}),
        (
            {"properties": {"a": {"prefixItems": [{}, SECRET]}}},
            {"a": ["x", "y", "z"]},
            {"a": ["x", HIDDEN, "z"]},
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/x~1y"}}, "$defs": {"x/y": SECRET}},
            {"a": "x"},
            {"a": HIDDEN},
        ),
        ({"properties": {"a": {"$ref": "#/$defs/gone"}}}, {"a": "x"}, {"a": "x"}),
        ({"properties": {"a": {"$ref": "https://example.com"}}}, {"a": "x"}, {"a": "x"}),
        ({"properties": {"a": {"type": "object", "properties": {"p": SECRET}}}}, {"a": "x"}, {"a": HIDDEN}),
        (
            {
                "properties": {
                    "a": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"p": SECRET}}]}
                }
            },
            {"a": "x"},
            {"a": "x"},
        ),
    ],
)
def test_a_schema_says_what_is_hidden(schema: dict[str, Any], params: Any, shown: Any) -> None:
    """Whatever was sent, fitting or not; references that lead nowhere hide nothing."""
    assert redacted(params, schema) == shown


def test_a_schema_that_refers_to_itself_is_followed_as_far_as_the_params_go() -> None:
    """And no further."""
    schema = {
        "$ref": "#/$defs/N",
        "$defs": {"N": {"properties": {"next": {"$ref": "#/$defs/N"}, "k": SECRET}}},
    }
    assert redacted({"next": {"next": {"k": "x"}}}, schema) == {"next": {"next": {"k": HIDDEN}}}


def _basic(prefix: str) -> Any:
    return lambda text: base64.b64encode((prefix + text + ":x").encode()).decode()


ENCODINGS = {
    "plain": str,
    "json": json.dumps,
    "json in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "repr": repr,
    "repr in a dict": lambda text: repr({"a": text}),
    "url": lambda text: quote(text, safe=""),
    "path": quote,
    "form": quote_plus,
}


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
@given(secret=secrets, before=some.text, after=some.text)
def test_no_encoding_gets_through(encoding: Any, secret: str, before: str, after: str) -> None:
    """Whatever stands around it."""
    secret = secret.strip()
    shown = Mask([secret]).text(f"{before} {encoding(secret)} {after}")
    assert HIDDEN in shown
    assert encoding(secret) not in shown


@pytest.mark.parametrize("prefix", ["", "u", "us", "user:"])
def test_base64_of_what_holds_a_secret_does_not_get_through(prefix: str) -> None:
    """As in a header of HTTP, wherever the groups of three fall."""
    secret = "correct horse"
    shown = Mask([secret]).text("Basic " + _basic(prefix)(secret))
    assert HIDDEN in shown
    assert len(shown) < len("Basic ***") + 12


@given(st.lists(secrets, min_size=1, max_size=4), some.json_values)
def test_masked_json_is_json_without_secrets(values: list[str], data: Any) -> None:
    """Every secret is gone, and what was JSON can be sent. A number is hidden if it is one,

    not for some of its digits.
    """
    mask = Mask(values)
    shown = mask.value({"data": data, "secrets": values, **dict.fromkeys(values, 1)})
    text = json.dumps(_without_numbers(shown, values), ensure_ascii=False)
    assert [one for one in values if one.strip() in text] == []


def _without_numbers(value: Any, but: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without_numbers(inner, but) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_numbers(inner, but) for inner in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return 0 if is_number and str(value) not in but else value


@pytest.mark.parametrize("secret", ["status", "attempt", "null", "true", "progress", '":"x'])
def test_a_secret_that_is_a_word_of_the_protocol_breaks_no_event(secret: str) -> None:
    """It is taken out of values, never out of the JSON around them."""
    calls = ReportCalls("J", 1, 1, history_limit=10, retention_ms=1000, mask=Mask([secret]))
    call = calls.output(0, {"said": f"it is {secret}"})
    body = json.loads("{" + str(call.args[6]) + "}")
    assert body == {"attempt": 1, "index": 0, "data": {"said": "it is ***"}}


def test_everything_that_an_attempt_says_is_masked() -> None:
    """Message, unit, steps, level lines, outputs, results, errors: the calls hold no secret."""
    calls = ReportCalls("J", 1, 1, history_limit=10, retention_ms=1000, mask=Mask(["canary", 4711]))
    error = JobError(code="exception", message="canary", type="canary", traceback="File canary")
    progress = Progress(
        message="canary",
        unit="canarys",
        step=StepRef(key="canary", name="canary", index=1),
        steps=(Step(key="canary", name="canary", status="running"),),
    )
    for call in (
        calls.progress(progress),
        calls.log("info", "canary", None),
        calls.output(0, ["canary", {"canary": 4711}]),
        calls.retry(error, 10),
        calls.end("failed", progress, error=error),  # type: ignore[arg-type]
        calls.end("succeeded", progress, result='{"a":["canary",4711]}'),  # type: ignore[arg-type]
    ):
        said = " ".join(str(arg) for arg in call.args)
        assert "canary" not in said
        assert "4711" not in said
        assert HIDDEN in said
    assert "canary" in str(calls.checkpoint('"canary"').args)  # the next attempt reads it, and nobody else


def test_what_is_too_short_is_left_alone() -> None:
    """It stands in too many other words."""
    mask = Mask(["abc", 42, True, None, ""])
    assert not mask
    assert mask.text("abc 42 True abcabc") == "abc 42 True abcabc"


def test_the_lines_of_a_key_are_secrets_too() -> None:
    """A log has it line by line."""
    mask = Mask(["-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nend\n"])
    assert mask.text("1: MIIEvQIBADANBgkq") == "1: ***"


@pytest.mark.parametrize("size", [4, 7, 12])
def test_a_secret_that_was_cut_with_its_text_is_hidden_too(size: int) -> None:
    """A message ends, a traceback begins in the middle of one."""
    secret = "correct-horse"
    mask = Mask([secret])
    text = "." * CUT_CHARACTERS
    assert mask.text(text + secret[:size]) == text + HIDDEN
    assert mask.text(secret[-size:] + text) == HIDDEN + text


def test_what_is_logged_is_masked_while_an_attempt_runs() -> None:
    """Of any kind of value; afterwards nothing is."""
    masks, mask = Masks(), Mask(["canary"])
    masks.add(mask)
    assert masks.shown({"a": ["canary"], "b": 1, "c": True}) == {"a": [HIDDEN], "b": 1, "c": True}
    assert masks.shown(ValueError("canary")) == "ValueError('***')"
    assert masks.text("a canary") == "a ***"
    masks.discard(mask)
    assert masks.text("a canary") == "a canary"
