"""`milepost worker [MODULE…]`: read the settings, import the tasks, work until told to leave."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import structlog

from milepost.errors import MilepostError, TaskDefinitionError
from milepost.logs import configure_logs
from milepost.reporting import capture_logs
from milepost.settings import load
from milepost.tasks import REGISTRY, Task
from milepost_worker.executors import ContextExecutor
from milepost_worker.service import Service, open_service
from milepost_worker.settings import WorkerSettings

log = structlog.get_logger("milepost.worker")

HARD_DEADLINE_SECONDS = 15.0
"""After draining and stopping, what still hangs (a thread, a socket) is left behind by force."""


@click.command(name="milepost worker")
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs at once.  [default: 10]")
@click.option("--queue", "queues", multiple=True, help="A queue to take jobs from; the first has priority.")
def command(modules: tuple[str, ...], concurrency: int | None, queues: tuple[str, ...]) -> None:
    """Run the tasks defined in MODULEs; without any, the built-in ones."""
    settings = load(WorkerSettings, concurrency=concurrency, queues=queues or None)
    configure_logs(settings)
    if settings.capture_logs_level is not None:
        capture_logs(settings.capture_logs_level)
    modules = modules or ("milepost_worker.builtin",)
    tasks = import_tasks(modules)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(settings, tasks, modules))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where there is one: a third less CPU for each job."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; returns the exit code. A refused start is one sentence on stderr and code 2."""
    try:
        command.main(args=None if argv is None else list(argv), standalone_mode=False)
    except MilepostError as error:
        click.echo(f"milepost worker: {error}", err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    return 0


def import_tasks(modules: Sequence[str]) -> Mapping[str, Task[..., Any]]:
    """Import the modules and return every task that is then defined, by name.

    Raises `TaskDefinitionError` when a module cannot be imported or none defines a task.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # `milepost worker tasks` beside tasks.py, as with `python -m`
    for module in modules:
        try:
            importlib.import_module(module)
        except MilepostError:
            raise
        except ModuleNotFoundError as error:
            raise TaskDefinitionError(_not_found(module, error)) from error
        except Exception as error:
            raise TaskDefinitionError(
                f"Module {module!r} raised {type(error).__name__} on import: {error}"
            ) from error
    if not REGISTRY:
        raise TaskDefinitionError(
            f"No task is defined in {', '.join(modules)}: decorate a function with @task."
        )
    return dict(REGISTRY)


def _not_found(module: str, error: ModuleNotFoundError) -> str:
    if error.name and (module == error.name or module.startswith(error.name + ".")):
        return f"There is no module {module!r}; it is looked for in {Path.cwd()} and on PYTHONPATH."
    return f"Module {module!r} imports {error.name!r}, which is not installed."


async def serve(
    settings: WorkerSettings, tasks: Mapping[str, Task[..., Any]], modules: Sequence[str] = ()
) -> None:
    """Work until SIGTERM or SIGINT; a second one hastens, a hard deadline ends it."""
    asyncio.get_running_loop().set_default_executor(ContextExecutor(thread_name_prefix="milepost-pool"))
    async with open_service(settings, tasks, modules) as service:
        _handle_signals(service, settings)
        log.info("worker.ready", worker=service.id, queues=list(settings.queues), tasks=sorted(tasks))
        await service.work()
    log.info("worker.left", worker=service.id)


def _handle_signals(service: Service, settings: WorkerSettings) -> None:
    loop = asyncio.get_running_loop()
    longest = settings.drain_seconds + settings.stop_grace_seconds + HARD_DEADLINE_SECONDS

    def leave() -> None:
        service.leave()
        loop.call_later(longest, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers on the loop
            loop.add_signal_handler(number, leave)
