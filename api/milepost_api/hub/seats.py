"""How many streams this process has open, and how many it may have."""

from __future__ import annotations

from milepost.errors import MilepostError


class Crowded(MilepostError):
    """This process serves as many streams as it may; another one, or this one later, serves yours."""


class Seats:
    """Every stream takes one when it begins to open and leaves it when it is closed.

    A process without a file descriptor left can neither accept nor reach Redis: who is refused here comes back, and
    those who are there notice nothing.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit, self.taken = limit, 0

    @property
    def full(self) -> bool:
        return self.limit is not None and self.taken >= self.limit

    def take(self) -> Seat:
        """Return one, to be left. Raises `Crowded`."""
        if self.full:
            raise Crowded
        return Seat(self)


class Seat:
    """One stream's."""

    __slots__ = ("_seats",)

    def __init__(self, seats: Seats) -> None:
        self._seats: Seats | None = seats
        seats.taken += 1

    def leave(self) -> None:
        """Make room. Idempotent."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.taken -= 1
