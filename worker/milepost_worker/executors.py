"""Running a task's function: on the event loop if it is async, else in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from typing import Any

from milepost.outcome import Outcome, Raised, Returned
from milepost.tasks import Task


async def execute(task: Task[..., Any], arguments: dict[str, Any]) -> Outcome:
    """Run the task in the present context and return how it ended.

    Whatever it raises is returned: SystemExit let through would take the whole worker with it.
    """
    if task.is_async:
        return await _on_the_loop(task, arguments)
    return await _in_a_thread(task, arguments)


async def _on_the_loop(task: Task[..., Any], arguments: dict[str, Any]) -> Outcome:
    try:
        return Returned(task.result_json(await task.function(**arguments)))
    except BaseException as error:  # noqa: BLE001 -- see `execute`
        return Raised(error)


async def _in_a_thread(task: Task[..., Any], arguments: dict[str, Any]) -> Outcome:
    # A daemon thread per job, not a pool: a thread that ignores its cancellation can neither use up a pool nor
    # keep the process from exiting, and starting one costs 50 µs.
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Outcome] = loop.create_future()
    context = contextvars.copy_context()

    def settle(outcome: Outcome) -> None:
        if not done.done():
            done.set_result(outcome)

    def run() -> None:
        outcome: Outcome
        try:
            outcome = Returned(task.result_json(context.run(task.function, **arguments)))
        except BaseException as error:  # noqa: BLE001 -- see `execute`
            outcome = Raised(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker left without this thread
            loop.call_soon_threadsafe(settle, outcome)

    try:
        threading.Thread(target=run, name=f"milepost-{task.name}", daemon=True).start()
    except RuntimeError as error:  # "can't start new thread"
        return Raised(error)
    return await done
