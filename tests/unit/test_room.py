"""Room: what may begin in a worker."""

from __future__ import annotations

from milepost_worker.room import Room

from milepost.tasks import Options, Task


def test_what_has_begun_counts_until_it_has_ended() -> None:
    """Tasks without a limit are never counted."""
    tasks = {
        name: Task(lambda: None, name, Options(concurrency=most)) for name, most in [("a", 2), ("b", None)]
    }
    room = Room(tasks)
    for task in ("a", "b", "a"):
        room.begun(task)
    assert dict(room) == {"a": 0, "b": -1}
    room.ended("b")
    room.ended("a")
    assert dict(room) == {"a": 1, "b": -1}
