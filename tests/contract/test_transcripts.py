"""Events in, job out: what every client is held against."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.files import TRANSCRIPTS, Transcript, after, transcripts
from milepost.codec import SseDecoder, decode_lines, dumps, encode_frame, encode_line
from milepost.job import Job

ALL = pytest.mark.parametrize("transcript", transcripts(), ids=lambda transcript: transcript.name)

COVERED = {
    *("success-with-steps", "retry", "worker-lost", "cancel-queued", "cancel-running", "late-and-duplicate"),
    *("snapshot-after-gap", "unknown-things", "large-result-omitted", "unicode", "released", "expired"),
    *("finished-before", "waiting"),
}


def test_no_transcript_is_lost() -> None:
    """An empty folder would pass everything."""
    assert {transcript.name for transcript in transcripts()} >= COVERED
    assert {path.stem for path in TRANSCRIPTS.glob("*.json")} == {one.name for one in transcripts()}


@ALL
def test_a_client_arrives_at_the_promised_job_after_every_event(transcript: Transcript) -> None:
    """The files are what clients were promised; a change of `fold` must not change them."""
    assert transcript.events[0]["type"] == "snapshot"
    assert len(transcript.events) == len(transcript.snapshots)
    job: Job | None = None
    for number, (event, expected) in enumerate(zip(transcript.events, transcript.snapshots, strict=True), 1):
        job = after(job, event)
        assert job is not None
        shown = job.to_wire()
        # A later version may tell more of a job than was promised then (contract/README.md).
        assert {name: shown[name] for name in expected} == expected, f"after event {number} ({event['type']})"


@ALL
def test_the_events_survive_both_wires(transcript: Transcript) -> None:
    """As SSE and as NDJSON, in the smallest pieces there are."""
    data = [dumps(event).encode() for event in transcript.events]
    cursors: list[Any] = [event.get("cursor") for event in transcript.events]
    kinds = [event["type"] for event in transcript.events]
    sse = b"".join(encode_frame(*parts) for parts in zip(kinds, data, cursors, strict=True))
    decoder = SseDecoder()
    frames = [frame for byte in sse for frame in decoder.feed(bytes([byte]))]
    assert [json.loads(frame.data) for frame in frames] == transcript.events
    assert decoder.last_event_id == [cursor for cursor in cursors if cursor][-1]
    lines = b"".join(encode_line(one) for one in data)
    assert list(decode_lines(bytes([byte]) for byte in lines)) == transcript.events
