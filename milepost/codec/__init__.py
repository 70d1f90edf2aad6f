"""How events look on a wire: cursors, SSE frames, NDJSON lines. Bytes in, events out; no I/O."""

from milepost.codec.cursor import Cursor
from milepost.codec.ndjson import decode_lines, encode_line
from milepost.codec.sse import Frame, SseDecoder, encode_frame, encode_retry
from milepost.codec.text import dumps

__all__ = [
    "Cursor",
    "Frame",
    "SseDecoder",
    "decode_lines",
    "dumps",
    "encode_frame",
    "encode_line",
    "encode_retry",
]
