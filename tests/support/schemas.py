"""Hold what is on the wire against the published schemas."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from contract.files import SCHEMAS
from milepost.events import EVENT_TYPES, Ended


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of `job`, `event-progress`, `problem`, …"""
    return Draft202012Validator(
        json.loads((SCHEMAS / f"{name}.json").read_text("utf-8")), format_checker=FormatChecker()
    )


def check_event(event: dict[str, Any]) -> None:
    """Raise `jsonschema.ValidationError` if an event of a known type does not fit its schema."""
    if event["type"] == Ended.type and "job_id" not in event:
        validator("event-end-of-all").validate(event)
    elif event["type"] in EVENT_TYPES:
        validator(f"event-{event['type']}").validate(event)
