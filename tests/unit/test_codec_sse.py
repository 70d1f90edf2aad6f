"""Server-sent events: the laws of the decoder, and every event through both ends.

What particular bytes mean is in contract/bytes/, for every implementation (tests/contract/test_bytes.py).
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from milepost.codec import Frame, SseDecoder, dumps, encode_frame, encode_retry
from tests.support.strategies import cuts, json_values

ALPHABET = st.sampled_from(
    ["data", "id", "event", "retry", ":", " ", "\r", "\n", "\r\n", "\0", "\ufeff", "é", "1"]
)
STREAMS = st.lists(ALPHABET, max_size=40).map(lambda parts: "".join(parts).encode())


def decode(*chunks: bytes) -> tuple[list[Frame], SseDecoder]:
    decoder = SseDecoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)], decoder


@given(st.data(), STREAMS)
def test_where_the_chunks_fall_does_not_matter(data: st.DataObject, stream: bytes) -> None:
    """Any cutting of any bytes gives the same frames, id and retry."""
    pieces = data.draw(cuts(stream))
    whole, one = decode(stream)
    piecewise, many = decode(*pieces)
    assert piecewise == whole
    assert (many.last_event_id, many.retry_ms) == (one.last_event_id, one.retry_ms)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(stream: bytes) -> None:
    """What is not UTF-8 becomes U+FFFD, as in a browser."""
    decode(stream)


@given(json_values)
def test_what_is_encoded_arrives_equal(value: object) -> None:
    """NUL, CR, LF, U+2028, U+0085, emoji and lone surrogates: one ASCII line there, the same value here."""
    block = encode_frame("progress", dumps(value).encode(), "abcd1234-7")
    assert block.isascii()
    assert block.decode().splitlines() == block.decode().split("\n")[:-1]
    [frame], _ = decode(block)
    assert (frame.event, frame.id, json.loads(frame.data)) == ("progress", "abcd1234-7", value)


def test_control_frames_leave_the_place_alone() -> None:
    """No `id:` line: the reader's cursor stays what it was."""
    frames, decoder = decode(encode_frame("log", b"1", "a-1"), encode_frame("ping", b"2"))
    assert b"id:" not in encode_frame("ping", b"2")
    assert (frames[1].id, decoder.last_event_id) == ("a-1", "a-1")


def a_whole_run() -> list[bytes]:
    """Blocks as a server sends them: retry, snapshot, events, pings between, end."""
    kinds = ["snapshot", "status", "progress", "log", "output", "progress", "end"]
    blocks = [encode_retry(1000)]
    for seq, kind in enumerate(kinds, 1):
        data = dumps({"type": kind, "seq": seq, "message": "zwei\r\nZeilen\u2028…"}).encode()
        blocks += [encode_frame(kind, data, f"abcd1234-{seq}"), encode_frame("ping", b'{"type":"ping"}')]
    return blocks[:-1]


def number_of(block: bytes) -> int:
    """Return the `seq` in the id of a block, 0 if it has none."""
    id_line = block.split(b"\n")[0]
    return int(id_line.rpartition(b"-")[2]) if id_line.startswith(b"id: ") else 0


def test_a_stream_that_is_cut_anywhere_and_resumed_gives_each_event_once() -> None:
    """For every byte of a whole run: read up to it, come back with the last id, read the rest."""
    blocks = a_whole_run()
    stream = b"".join(blocks)
    expected = list(range(1, 8))
    for cut in range(len(stream) + 1):
        seen, before = decode(stream[:cut])
        place = int(before.last_event_id.rpartition("-")[2] or 0)
        # What a server does with Last-Event-ID: everything after that number, from the beginning of a block.
        rest = [
            block
            for block in blocks
            if b"id: " in block and int(block.split(b"\n")[0].rpartition(b"-")[2]) > place
        ]
        seen += decode(b"".join(rest))[0]
        assert [json.loads(frame.data)["seq"] for frame in seen if frame.event != "ping"] == expected, (
            f"at {cut}"
        )
