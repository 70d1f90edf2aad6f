"""Sending events over HTTP."""

from milepost_api.streaming.accept import accepts
from milepost_api.streaming.lanes import Lanes, open_lanes
from milepost_api.streaming.lent import LentStream, Source
from milepost_api.streaming.response import (
    HEADERS,
    NDJSON,
    RETRY_MS,
    SSE,
    StreamResponse,
    come_back_later,
    head_of,
    opening_words,
)

__all__ = [
    "HEADERS",
    "NDJSON",
    "RETRY_MS",
    "SSE",
    "Lanes",
    "LentStream",
    "Source",
    "StreamResponse",
    "accepts",
    "come_back_later",
    "head_of",
    "open_lanes",
    "opening_words",
]
