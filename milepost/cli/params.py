"""From `--param k=v` and `--params-json` to the params of a job. Pure, but for standard input."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click


def read_params(pairs: Sequence[str], document: str | None, stdin: Callable[[], str]) -> dict[str, Any]:
    """Return the params; a pair wins over the same name in the document. Raises `click.BadParameter`."""
    params = _document(stdin() if document == "-" else document) if document is not None else {}
    given: dict[str, Any] = {}
    for pair in pairs:
        name, value = parse_param(pair)
        if name in given:
            _refuse("--param", f"{name!r} is given twice")
        given[name] = value
    return params | given


def parse_param(pair: str) -> tuple[str, Any]:
    """Read `name=value`: the value as JSON if it is JSON, as text if not.

    >>> parse_param("steps=5"), parse_param("path=data/x.csv"), parse_param('zip="5"'), parse_param("n=NaN")
    (('steps', 5), ('path', 'data/x.csv'), ('zip', '5'), ('n', 'NaN'))
    """
    name, separator, text = pair.partition("=")
    if not separator or not name:
        # Not quoted: it may be a password whose name was forgotten, and this line ends up in logs.
        _refuse("--param", f"a text of {len(pair)} characters is not of the form name=value")
    try:
        return name, json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return name, text


def _document(text: str | None) -> dict[str, Any]:
    try:
        document = json.loads(text or "", parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        _refuse("--params-json", f"this is not JSON: {error}")
    if not isinstance(document, dict):
        _refuse("--params-json", "the params are a JSON object: {...}")
    return document


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(option: str, why: str) -> NoReturn:
    raise click.BadParameter(f"{why}.", param_hint=option)
