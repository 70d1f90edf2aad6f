"""The kinds of houses that scenarios are played in."""

from __future__ import annotations

from dataclasses import dataclass

APART = "apart,default"
"""What a worker listens to that also runs process tasks."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How many APIs there are, the queues of each worker of the crew, and where the records are.

    `doomed`: the APIs can be killed at named points, their longest times are shortened.
    """

    name: str
    apis: int = 1
    crew: tuple[str, ...] = ("default", "default", "wired,default")  # the last one is behind the proxy
    doomed: bool = False
    postgres: bool = False
    sentinels: bool = False


PLAIN = Kind("plain")
PAIR = Kind("pair", apis=2, crew=("default", "wired,default", APART), doomed=True)
SENTINELS = Kind("sentinels", apis=2, crew=("default", "wired,default", APART), doomed=True, sentinels=True)
POSTGRES = Kind("postgres", apis=2, crew=("default", "wired,default", APART), doomed=True, postgres=True)
