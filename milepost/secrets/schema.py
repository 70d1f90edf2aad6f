"""Where secrets are in params: at the places that a JSON Schema marks `writeOnly`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from milepost.job import Json
from milepost.secrets.mask import HIDDEN

Schema = Mapping[str, Any]

_BRANCHES = ("allOf", "anyOf", "oneOf")
_SCALAR_TYPES = frozenset({"string", "number", "integer", "boolean"})


def has_secrets(schema: Schema) -> bool:
    """Whether any place of the schema is marked."""
    return any(part.get("writeOnly") is True for part in _parts(schema))


def redacted(params: Json, schema: Schema) -> Json:
    """Return a copy in which `***` stands in place of every secret."""
    return _Redaction(schema).of(params, [schema])


def secrets_in(params: Json, schema: Schema) -> list[Json]:
    """Return the values at the marked places, whether or not they fit the schema."""
    redaction = _Redaction(schema)
    redaction.of(params, [schema])
    return redaction.found


def without_secret_defaults(schema: Schema) -> dict[str, Any]:
    """Return the schema without defaults at marked places: they are secrets, or the asterisks that stand for one."""
    dropped = "default" if schema.get("writeOnly") is True else None
    return {name: _without(value) for name, value in schema.items() if name != dropped}


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secret_defaults(value)
    return [_without(one) for one in value] if isinstance(value, list) else value


def _parts(schema: Any) -> Iterator[Schema]:
    if isinstance(schema, Mapping):
        yield schema
        for inner in schema.values():
            yield from _parts(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _parts(inner)


class _Redaction:
    """One walk through a value along its schema; `found` are the secrets that were met."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self.found: list[Json] = []

    def of(self, value: Json, schemas: Sequence[Any]) -> Json:
        """Return `value`, which all of these schemas speak of, without secrets."""
        said = self._flat(schemas)
        if value is None:
            return None
        if any(schema.get("writeOnly") is True for schema in said) or self._is_misplaced(value, said):
            self.found.append(value)
            return HIDDEN
        if isinstance(value, dict):
            return {name: self.of(inner, _of_property(said, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.of(inner, _of_item(said, place)) for place, inner in enumerate(value)]
        return value

    def _is_misplaced(self, value: Json, said: Sequence[Schema]) -> bool:
        """Whether a plain value came for something that would hold a secret further inside: it may be that one."""
        if isinstance(value, dict | list):
            return False
        kinds = {kind for schema in said for kind in _kinds(schema)}
        structured = bool(kinds) and not kinds & _SCALAR_TYPES
        return structured and any(self._holds_secrets(schema, set()) for schema in said)

    def _holds_secrets(self, schema: Any, seen: set[int]) -> bool:
        if id(schema) in seen:
            return False
        seen.add(id(schema))
        if isinstance(schema, Mapping):
            target = self._target(schema)
            inner = [*schema.values(), *([target] if target else [])]
            return schema.get("writeOnly") is True or any(self._holds_secrets(one, seen) for one in inner)
        return isinstance(schema, list) and any(self._holds_secrets(one, seen) for one in schema)

    def _flat(self, schemas: Sequence[Any]) -> list[Schema]:
        """Return these schemas and all that they refer to or are made of: which of them holds, is not asked."""
        found: list[Schema] = []
        left, seen = list(schemas), set[int]()
        while left:
            schema = left.pop()
            if not isinstance(schema, Mapping) or id(schema) in seen:
                continue
            seen.add(id(schema))
            found.append(schema)
            left += [one for name in _BRANCHES for one in schema.get(name, ())]
            left += [schema.get("then"), schema.get("else"), self._target(schema)]
        return found

    def _target(self, schema: Schema) -> Any:
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        place: Any = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            place = place.get(name) if isinstance(place, Mapping) else None
        return place


def _kinds(schema: Schema) -> Sequence[str]:
    kind = schema.get("type", ())
    return [kind] if isinstance(kind, str) else list(kind)


def _of_property(said: Sequence[Schema], name: str) -> list[Any]:
    found = []
    for schema in said:
        patterns = schema.get("patternProperties", {})
        here = [inner for pattern, inner in patterns.items() if re.search(pattern, name)]
        if name in schema.get("properties", {}):
            here.append(schema["properties"][name])
        found += here or [schema.get("additionalProperties")]
    return found


def _of_item(said: Sequence[Schema], place: int) -> list[Any]:
    found = []
    for schema in said:
        first = schema.get("prefixItems", ())
        found.append(first[place] if place < len(first) else schema.get("items"))
    return found
