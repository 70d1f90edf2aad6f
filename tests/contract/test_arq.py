"""What Milepost relies on inside arq, which is frozen at 0.28: a release that changes it must be noticed here."""

from __future__ import annotations

import inspect
import json
from importlib.metadata import version
from typing import Any

import arq.constants
from arq.worker import Worker, func
from milepost_worker.arqjson import dump, load


def test_the_version_is_the_one_that_was_read() -> None:
    """Names that the subclass overrides are private; only this version is known to have them."""
    assert version("arq").rsplit(".", 1)[0] == "0.28"


def test_the_keys_are_those_that_the_scripts_write() -> None:
    """`deliver` and `withdraw` in common.lua write them without arq."""
    assert arq.constants.job_key_prefix == "arq:job:"


def test_the_method_that_is_replaced_is_there() -> None:
    """With the parameters it had."""
    assert list(inspect.signature(Worker.run_job).parameters) == ["self", "job_id", "score"]


def test_the_options_are_there() -> None:
    """Of the worker and of a function."""
    assert set(inspect.signature(Worker.__init__).parameters) >= {
        "functions",
        "queue_name",
        "redis_pool",
        "handle_signals",
        "job_serializer",
        "job_deserializer",
        "log_results",
    }
    assert set(inspect.signature(func).parameters) >= {"coroutine", "name"}


def test_payloads_are_json_both_ways() -> None:
    """Whoever can write to Redis must not be able to run code in a worker."""
    payload: dict[str, Any] = {"t": None, "f": "attempt", "a": ["job"], "k": {}, "et": 1}
    assert load(dump(payload)) == payload
    assert json.loads(dump({"r": ValueError("no JSON")})) == {"r": "no JSON"}
