"""The rows of the table, in the order in which they are measured and printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.bench import Bench
from benchmarks.report import Table
from benchmarks.rows import (
    client,
    fanout,
    fanout_max,
    hotloop,
    lists,
    many,
    memory,
    pickup,
    queues,
    recorder,
    recovery,
    slow_readers,
    storm,
    submit,
)

Show = Callable[[Bench], list[Table]]

ROWS: Mapping[str, Show] = {
    "client": client.show,
    "fanout-max": fanout_max.show,
    "fanout-100": fanout.show_100,
    "fanout-20": fanout.show_20,
    "many": many.show,
    "memory": memory.show,
    "storm": storm.show,
    "readers": slow_readers.show,
    "pickup": pickup.show,
    "queues": queues.show,
    "hotloop": hotloop.show,
    "recorder": recorder.show,
    "recovery": recovery.show,
    "submit": submit.show,
    "lists": lists.show,
}
