"""NDJSON: the same objects, one a line."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from milepost.codec import decode_lines, dumps, encode_line
from tests.support.strategies import cuts, json_values, text

OBJECTS = st.lists(st.dictionaries(text, json_values, max_size=3), max_size=5)


@given(st.data(), OBJECTS)
def test_where_the_chunks_fall_does_not_matter(data: st.DataObject, objects: list[dict[str, object]]) -> None:
    """Any cutting of the lines gives the same objects."""
    stream = b"".join(encode_line(dumps(one).encode()) for one in objects)
    assert stream.isascii()
    assert list(decode_lines(data.draw(cuts(stream)))) == objects


def test_blank_lines_and_carriage_returns_are_nothing() -> None:
    """A blank line is a keep-alive to many servers."""
    assert list(decode_lines([b'\n{"a":1}\r\n \n\r\n{"a":', b"2}\n"])) == [{"a": 1}, {"a": 2}]


def test_a_stream_that_is_cut_anywhere_and_resumed_gives_each_event_once() -> None:
    """A line that was cut off is not an event: the reader comes back with the cursor before it."""
    events = [{"cursor": f"abcd1234-{seq}", "seq": seq, "message": "zwei\nZeilen…"} for seq in range(1, 6)]
    lines = [encode_line(dumps(event).encode()) for event in events]
    stream = b"".join(lines)
    for cut in range(len(stream) + 1):
        seen = list(decode_lines([stream[:cut]]))
        place = int(seen[-1]["cursor"].rpartition("-")[2]) if seen else 0
        seen += decode_lines([line for line in lines if json.loads(line)["seq"] > place])
        assert seen == events, f"at {cut}"
