"""Connections to Redis or Valkey, configured so that a restart or a failover is an interruption and not an end.

arq holds redis-py below 6; what is used here behaves the same on 5, 6, 7 and 8.
"""

from milepost.redis.address import check_url, place, user_of
from milepost.redis.clients import connect, connect_subscriber, connect_sync
from milepost.redis.trouble import UNREACHABLE, is_transient

__all__ = [
    "UNREACHABLE",
    "check_url",
    "connect",
    "connect_subscriber",
    "connect_sync",
    "is_transient",
    "place",
    "user_of",
]
