"""Many jobs on one connection: named, of a tag or a batch, or all that a tenant may see."""

from milepost_api.many.look import Found, look
from milepost_api.many.multiplexer import Multiplexer, open_multiplexer
from milepost_api.many.stream import ManyStream
from milepost_api.many.wanted import LIVE_INTERVAL_MS, NAMED_MOST, Filter, Wanted

__all__ = [
    "LIVE_INTERVAL_MS",
    "NAMED_MOST",
    "Filter",
    "Found",
    "ManyStream",
    "Multiplexer",
    "Wanted",
    "look",
    "open_multiplexer",
]
