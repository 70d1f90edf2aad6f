"""What pydantic says of secrets: `SecretStr`, `SecretBytes` and `Secret[...]` in type hints, wherever they nest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class MarkingJsonSchema(GenerateJsonSchema):
    """Marks `Secret[...]` as well: pydantic itself says `writeOnly` of `SecretStr` and `SecretBytes` only."""

    def json_or_python_schema(self, schema: core_schema.JsonOrPythonSchema) -> JsonSchemaValue:
        found = super().json_or_python_schema(schema)
        shown: Any = schema.get("serialization", {})
        return {**found, "writeOnly": True} if _hides(shown.get("function")) else found


def _hides(serializer: Any) -> bool:
    name = getattr(serializer, "__qualname__", "")
    return getattr(serializer, "__module__", "") == "pydantic.types" and name.startswith("_serialize_secret")


def secrets_of(value: Any) -> Iterator[Any]:
    """Yield what the secrets hold that stand anywhere inside a validated value."""
    if callable(reveal := getattr(value, "get_secret_value", None)):
        yield from _leaves(reveal())
    else:
        for inner in _inside(value):
            yield from secrets_of(inner)


def _leaves(value: Any) -> Iterator[Any]:
    if callable(reveal := getattr(value, "get_secret_value", None)):
        value = reveal()
    inner = list(_inside(value))
    if not inner:
        yield value if isinstance(value, str | bytes | int | float) else str(value)
    for one in inner:
        yield from _leaves(one)


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, BaseModel):
        yield from vars(value).values()
    elif isinstance(value, Mapping):
        yield from value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, field.name) for field in fields(value))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
