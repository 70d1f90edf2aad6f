"""Write the JSON Schemas from the types: `python -m contract.generate`. A test fails when they have drifted.

A new transcript needs only `name`, `why` and `events`: this fills in its `snapshots`, once, for you to read.
Those that are there are never changed: they are what clients were promised.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from contract.files import SCHEMAS, TRANSCRIPTS, after
from milepost.events import EVENT_TYPES, AllEnded
from milepost.job import ErrorCode, Job, JobError, Progress
from milepost.problems import PROBLEM_TYPES

DIALECT = "https://json-schema.org/draft/2020-12/schema"

PROBLEM: dict[str, Any] = {
    "description": "What went wrong with a request (RFC 9457); clients switch on `type`.",
    "type": "object",
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "examples": [kind.uri for kind in PROBLEM_TYPES.values()],
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong here and what to do about it."},
        "instance": {"type": "string", "format": "uri-reference"},
    },
    "required": ["type", "title", "status", "detail"],
}


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by the name of its file."""
    found = {"job": _of(Job), "progress": _of(Progress), "job-error": _of(JobError), "problem": PROBLEM}
    kinds = {**EVENT_TYPES, "end-of-all": AllEnded}
    for kind, cls in kinds.items():
        schema = _of(cls)
        schema["properties"] = {"type": {"const": cls.type}} | schema["properties"]
        schema["required"] = ["type", *schema["required"]]
        found[f"event-{kind}"] = schema
    return {name: _headed(name, schema) for name, schema in found.items()}


def _of(cls: type) -> dict[str, Any]:
    schema: dict[str, Any] = _opened(TypeAdapter(cls).json_schema())
    return schema


def _opened(schema: Any, name: str = "") -> Any:
    """Take out what only pydantic needs, and say what types cannot: times, known codes, that more may come."""
    if isinstance(schema, list):
        return [_opened(one, name) for one in schema]
    if not isinstance(schema, dict):
        return schema
    names = name in {"properties", "$defs"}
    plain = {
        key: value
        if key in {"const", "default", "enum"} and not names
        else _opened(value, name if key == "anyOf" else key)
        for key, value in schema.items()
        if names or key != "title"
    }
    if not names and plain.get("type") == "string" and (name == "at" or name.endswith("_at")):
        plain["format"] = "date-time"
    if not names and plain.get("type") == "object":
        plain["additionalProperties"] = True
    if name == "JobError":
        plain["properties"]["code"]["examples"] = [str(code) for code in ErrorCode]
    return plain


def _headed(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": f"urn:milepost:schema:{name}", "additionalProperties": True} | schema


def write_schemas() -> None:
    """Write them all, and remove those whose type has gone."""
    SCHEMAS.mkdir(exist_ok=True)
    wanted = schemas()
    for path in SCHEMAS.glob("*.json"):
        if path.stem not in wanted:
            path.unlink()
    for name, schema in wanted.items():
        (SCHEMAS / f"{name}.json").write_text(text_of(schema), "utf-8")


def text_of(document: dict[str, Any]) -> str:
    """Return the document as it stands in its file: ASCII, so that what is in it can be seen."""
    return json.dumps(document, indent=2) + "\n"


def fill_in_snapshots() -> None:
    """Fold the events of transcripts that have no snapshots yet."""
    for path in sorted(TRANSCRIPTS.glob("*.json")):
        transcript = json.loads(path.read_text("utf-8"))
        if "snapshots" in transcript:
            continue
        job, transcript["snapshots"] = None, []
        for event in transcript["events"]:
            job = after(job, event)
            transcript["snapshots"].append(job and job.to_wire())
        path.write_text(text_of(transcript), "utf-8")


if __name__ == "__main__":
    write_schemas()
    fill_in_snapshots()
