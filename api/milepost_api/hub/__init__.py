"""The hub: one Redis subscription per process, any number of streams; each event encoded once (DESIGN §4)."""

from milepost_api.hub.foreseen import Foreseen
from milepost_api.hub.frames import COMMENT, DEGRADED, LIVE, Frame, ping, place_of, reconnect
from milepost_api.hub.hub import Hub, open_hub
from milepost_api.hub.memory import Memory, Recalled
from milepost_api.hub.opening import AlreadyEnded, subscribe, subscribe_at_once
from milepost_api.hub.seats import Crowded, Seat
from milepost_api.hub.subscription import PART, Subscription, Wishes, wanted
from milepost_api.hub.times import Times

__all__ = [
    "COMMENT",
    "DEGRADED",
    "LIVE",
    "PART",
    "AlreadyEnded",
    "Crowded",
    "Foreseen",
    "Frame",
    "Hub",
    "Memory",
    "Recalled",
    "Seat",
    "Subscription",
    "Times",
    "Wishes",
    "open_hub",
    "ping",
    "place_of",
    "reconnect",
    "subscribe",
    "subscribe_at_once",
    "wanted",
]
