"""docker-compose.yml as Compose reads it, for tests that run the same processes without an engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Service = dict[str, Any]


class MissingVariable(Exception):
    """A variable that the file requires is not set; the message is the file's own."""


def read(path: Path = COMPOSE) -> dict[str, Any]:
    """Return the file with its anchors and merges resolved, and its variables as they stand."""
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return document


def said_twice(path: Path = COMPOSE) -> list[str]:
    """Return the keys that stand twice in one mapping, with their lines: Compose refuses such a file."""
    # Of a mapping with a merge (`<<`) the loader above takes the last one, and says nothing.
    return _said_twice(YAML(typ="safe", pure=True).compose(path))


def services(variables: Mapping[str, str], path: Path = COMPOSE) -> dict[str, Service]:
    """Return the services as they would run. Raises `MissingVariable`."""
    filled: dict[str, Service] = _filled(read(path)["services"], variables)
    for service in filled.values():
        service["environment"] = _environment(service.get("environment", {}), variables)
    return filled


def seconds(duration: str) -> float:
    """Return a duration of Compose's (`1m30s`) in seconds."""
    parts = re.findall(r"(\d+)(ms|s|m|h)", duration)
    assert "".join(number + unit for number, unit in parts) == duration, f"{duration!r} is no duration"
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def _said_twice(node: Node) -> list[str]:
    if not isinstance(node, MappingNode):
        return [
            found for one in getattr(node, "value", ()) if isinstance(one, Node) for found in _said_twice(one)
        ]
    seen, found = set[str](), list[str]()
    for key, value in node.value:
        if key.value in seen:
            found.append(f"{key.value} (line {key.start_mark.line + 1})")
        seen.add(key.value)
        found += _said_twice(value)
    return found


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    return _interpolated(node, variables) if isinstance(node, str) else node


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        if given := variables.get(name):
            return given
        if operator == "?":
            raise MissingVariable(f"{name}: {rest}")
        return rest if operator == "-" else ""

    return _VARIABLE.sub(value, text)


def _environment(given: Mapping[str, str | None], variables: Mapping[str, str]) -> dict[str, str]:
    """A name without a value is passed on if it is set, and left out if it is not."""
    named = {name: variables.get(name) if value is None else str(value) for name, value in given.items()}
    return {name: value for name, value in named.items() if value is not None}
