"""Everything on one machine: an embedded Redis, a worker and the API under one supervisor (`milepost up`)."""

from milepost.launch.binary import find_server
from milepost.launch.embedded import EmbeddedRedis
from milepost.launch.house import House, open_house
from milepost.launch.supervisor import Plan, supervise

__all__ = ["EmbeddedRedis", "House", "Plan", "find_server", "open_house", "supervise"]
