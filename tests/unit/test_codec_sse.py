"""Server-sent events: the decoder against the standard, and every event through both ends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.codec import Frame, SseDecoder, dumps, encode_frame, encode_retry
from tests.support.strategies import cuts, json_values

ALPHABET = st.sampled_from(
    ["data", "id", "event", "retry", ":", " ", "\r", "\n", "\r\n", "\0", "\ufeff", "é", "1"]
)
STREAMS = st.lists(ALPHABET, max_size=40).map(lambda parts: "".join(parts).encode())

# Derived from WPT eventsource/format-*.any.js: what a browser makes of these bytes.
CASES = {
    "bom": ("\ufeffdata:1\n\n\ufeffdata:2\n\ndata:3\n\n", ["1", "3"]),
    "two boms": ("\ufeff\ufeffdata:1\n\ndata:2\n\ndata:3\n\n", ["2", "3"]),
    "comments": ("data:1\r:\0\n:\r\ndata:2\n:" + "x" * 2000 + "\rdata:3\n:data:fail\r:x\n\n", ["1\n2\n3"]),
    "no blank line at the end": ("data:test\r\n\r\ndata:no", ["test"]),
    "data: none, empty, one newline": ("data:\n\ndata\ndata\n\ndata:test\n\n", ["", "\n", "test"]),
    "field parsing": (
        "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\n"
        "data:4\n\n",
        ["\0\n 2\n1\n3\n\n4"],
    ),
    "unknown fields": ("data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n", ["test\n\ntest"]),
    "leading space": ("data:\ttest\rdata: \ndata:test\n\n", ["\ttest\n\ntest"]),
    "newlines": ("data:test\r\ndata\ndata:test\r\n\r", ["test\n\ntest"]),
    "nul is text": ("data:\0\n\n\n\n", ["\0"]),
    "utf-8": ("data:ok…\n\n", ["ok…"]),
    "colon in data": ("data: a: b\n\n", ["a: b"]),
    "no data, no event": ("event: end\n\nid: 7\n\n: comment\n\n", []),
}  # fmt: skip


def decode(*chunks: bytes) -> tuple[list[Frame], SseDecoder]:
    decoder = SseDecoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)], decoder


@pytest.mark.parametrize("name", CASES)
def test_bytes_mean_what_they_mean_to_a_browser(name: str) -> None:
    """WHATWG HTML §9.2.6, case by case."""
    stream, expected = CASES[name]
    assert [frame.data for frame in decode(stream.encode())[0]] == expected


def test_the_event_name_is_message_unless_named() -> None:
    """It belongs to its block only; an empty one is `message` too."""
    frames, _ = decode(
        b"event: end\ndata: 1\n\ndata: 2\n\nevent:\ndata: 3\n\nevent: a\nevent: b\ndata: 4\n\n"
    )
    assert [frame.event for frame in frames] == ["end", "message", "message", "b"]


def test_an_id_stays_until_the_next_one() -> None:
    """A block without an id keeps the last, one without data still moves it, an empty one forgets it."""
    frames, decoder = decode(b"id: a-1\ndata: 1\n\ndata: 2\n\nid: a-3\n\ndata: 4\n\nid\ndata: 5\n\n")
    assert [frame.id for frame in frames] == ["a-1", "a-1", "a-3", ""]
    assert decoder.last_event_id == ""


def test_an_id_with_nul_is_ignored() -> None:
    """The field, not the block (format-field-id-null)."""
    frames, decoder = decode(b"id: a-1\ndata: 1\n\nid: a\x00b\ndata: 2\n\n")
    assert [frame.id for frame in frames] == ["a-1", "a-1"]
    assert decoder.last_event_id == "a-1"


def test_an_id_counts_when_its_block_ends() -> None:
    """A block that was cut off is no event, and its id must not be sent on a reconnect."""
    _, decoder = decode(b"id: a-1\ndata: 1\n\nid: a-2\ndata: 2\n")
    assert decoder.last_event_id == "a-1"
    assert [frame.id for frame in decoder.feed(b"\n")] == ["a-2"]


@pytest.mark.parametrize("value", ["-5", "5.0", "1e3", "", "x", "٣", "5 ", "9" * 5000])
def test_a_bogus_retry_is_ignored(value: str) -> None:
    """ASCII digits only, and no more of them than a time can have."""
    _, decoder = decode(encode_retry(1500), f"retry: {value}\n\n".encode())
    assert decoder.retry_ms == 1500


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


def test_a_stream_that_is_cut_anywhere_and_resumed_gives_each_event_once() -> None:
    """For every byte of a whole run: read up to it, come back with the last id, read the rest."""
    blocks = a_whole_run()
    stream = b"".join(blocks)
    expected = [seq for seq in range(1, 8)]
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
