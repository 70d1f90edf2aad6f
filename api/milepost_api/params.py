"""Do these params fit this task? Checked at submit time, against the schema that its workers announced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, time
from itertools import islice
from typing import Any

import structlog
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from milepost.codec import dumps
from milepost.log import TaskInfo
from milepost.secrets import HIDDEN, redacted
from milepost_api.problems import Problem

ERRORS_LISTED = 50
SHOWN = 120  # characters of a value that an error quotes
log = structlog.get_logger()


FORMATS = FormatChecker()
"""What pydantic announces and the library checks by itself, and the two it does not."""


def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value) is not None


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or time.fromisoformat(value) is not None


FORMATS.checks("date-time", ValueError)(_is_moment)
FORMATS.checks("time", ValueError)(_is_time)


class ParamsCheck:
    """Compiled once per announcement. A schema cannot make this process fetch another one."""

    def __init__(self, task: TaskInfo) -> None:
        self._task = task.name
        schema = dict(task.params_schema)
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            # Its author's mistake must not lock a task out: the worker checks params again anyway.
            log.error("params are not checked: schema is not valid", task=task.name, reason=error.message)
            schema = {}
        self._schema = schema
        self._validator = Draft202012Validator(schema, format_checker=FORMATS, registry=Registry())

    def __call__(self, params: Mapping[str, Any]) -> None:
        """Raises the `invalid-params` problem with the JSON path of every error."""
        try:
            found = list(islice(self._validator.iter_errors(params), ERRORS_LISTED))
        except Unresolvable as error:
            log.error("params are not checked: schema refers to another", task=self._task, reason=str(error))
            return
        if not found:
            return
        shown = redacted(dict(params), self._schema)  # a refusal quotes what was sent
        # Each missing param is an error of its own to the validator, and each names all of them here.
        listed = list({one["path"]: one for error in found for one in _listed(error, shown)}.values())
        first = f"{listed[0]['path']}: {listed[0]['detail']}"
        more = f" And {len(listed) - 1} more, see `errors`." if len(listed) > 1 else ""
        raise Problem("invalid-params", f"The params do not fit {self._task}. {first}{more}", errors=listed)


def _listed(error: ValidationError, shown: Any) -> list[dict[str, str]]:
    """Return what is wrong; `shown` are the params without secrets."""
    path = "$.params" + error.json_path.removeprefix("$")
    if error.validator == "additionalProperties" and error.validator_value is False:
        known = sorted(error.schema.get("properties", {}))
        listed = f"This task takes {', '.join(known)}." if known else "This task takes no params."
        unknown = sorted(set(error.instance) - set(known))
        return [_one(f"{path}.{name}"[:300], f"There is no such param. {listed}") for name in unknown]
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return [_one(f"{path}.{name}", "This param is missing.") for name in missing]
    return [_one(path, _sentence(error, _at(shown, error.absolute_path)))]


def _at(value: Any, path: Iterable[str | int]) -> Any:
    for step in path:
        if value == HIDDEN:
            break  # the rest is hidden with it
        value = value[step]
    return value


def _one(path: str, detail: str) -> dict[str, str]:
    return {"in": "body", "path": path, "detail": detail}


def _sentence(error: ValidationError, instance: Any) -> str:
    wanted, given = error.validator_value, _shown(instance)
    match error.validator:
        case "type":
            kinds = " or ".join([wanted] if isinstance(wanted, str) else wanted)
            return f"Should be {kinds}, is {given}."
        case "enum":
            return f"Should be one of {', '.join(_shown(one) for one in wanted)}, is {given}."
        case "minimum":
            return f"Should be at least {wanted}, is {given}."
        case "maximum":
            return f"Should be at most {wanted}, is {given}."
        case "exclusiveMinimum":
            return f"Should be more than {wanted}, is {given}."
        case "exclusiveMaximum":
            return f"Should be less than {wanted}, is {given}."
        case "minLength" | "minItems":
            return f"Should be at least {wanted} long, is {len(error.instance)}."
        case "maxLength" | "maxItems":
            return f"Should be at most {wanted} long, is {len(error.instance)}."
        case "pattern":
            return f"Should match {wanted!r}, is {given}."
        case "format":
            return f"Should be a valid {wanted}, is {given}."
        case "anyOf" | "oneOf":
            return f"Fits none of what is allowed here, is {given}."
        case _:
            words = error.message[:SHOWN] if instance == error.instance else "This does not fit"
            return f"{words} ({error.validator})."


def _shown(value: Any) -> str:
    text = dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text):,} characters)"
