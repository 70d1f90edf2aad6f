"""Bytes in, frames out: WHATWG HTML §9.2.6, case by case (many derived from WPT eventsource/format-*)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.files import BYTES, ByteCase, byte_cases
from milepost.codec import Frame, SseDecoder
from tests.support.strategies import cuts

ALL = pytest.mark.parametrize("case", byte_cases(), ids=lambda case: case.name)


def decode(chunks: list[bytes]) -> tuple[list[Frame], str, int | None]:
    decoder = SseDecoder()
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return frames, decoder.last_event_id, decoder.retry_ms


def test_no_case_is_lost() -> None:
    """An empty folder would pass everything."""
    assert len(byte_cases()) >= 22
    assert {path.stem for path in BYTES.glob("*.json")} == {case.name for case in byte_cases()}


@ALL
def test_bytes_mean_what_they_mean_to_a_browser(case: ByteCase) -> None:
    """The frames, what a reconnect must send, and how long it waits."""
    assert decode(case.chunks) == (case.frames, case.last_event_id, case.retry_ms)


@ALL
@given(st.data())
def test_they_mean_it_however_they_are_cut(case: ByteCase, data: st.DataObject) -> None:
    """Where the chunks fall is the network's business."""
    pieces = data.draw(cuts(b"".join(case.chunks)))
    assert decode(pieces) == (case.frames, case.last_event_id, case.retry_ms)
