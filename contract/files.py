"""Read the golden files: the same folder serves Python's tests and JavaScript's."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.codec import Frame
from milepost.events import Event, StillWaiting, from_wire
from milepost.fold import fold
from milepost.job import Job

FOLDER = Path(__file__).parent
TRANSCRIPTS, BYTES, SCHEMAS = FOLDER / "transcripts", FOLDER / "bytes", FOLDER / "schemas"


@dataclass(frozen=True, slots=True)
class Transcript:
    """Events as they arrive, and the job after each of them; the first is always a snapshot."""

    name: str
    why: str
    events: list[dict[str, Any]]
    snapshots: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ByteCase:
    """Chunks of a body, and the frames that they complete, with what a reconnect must know."""

    name: str
    why: str
    chunks: list[bytes]
    frames: list[Frame]
    last_event_id: str
    retry_ms: int | None


def transcripts() -> list[Transcript]:
    """Return all of them, by name."""
    return [Transcript(**json.loads(path.read_text("utf-8"))) for path in sorted(TRANSCRIPTS.glob("*.json"))]


def byte_cases() -> list[ByteCase]:
    """Return all of them, by name."""
    cases = []
    for path in sorted(BYTES.glob("*.json")):
        raw = json.loads(path.read_text("utf-8"))
        raw["chunks"] = [base64.b64decode(chunk) for chunk in raw["chunks"]]
        raw["frames"] = [Frame(**frame) for frame in raw["frames"]]
        cases.append(ByteCase(**raw))
    return cases


def after(job: Job | None, wire: dict[str, Any]) -> Job | None:
    """Return the job after one event from the wire: what every client does with it."""
    event = from_wire(wire)
    if not isinstance(event, Event | StillWaiting):
        return job  # unknown, or about the connection
    return fold(job or Job(id=event.job_id, task=""), event)
