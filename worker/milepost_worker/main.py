"""`milepost worker [MODULE…]`: read the settings, import the tasks, work until told to leave.

Little is imported before it is known what is asked for: `--help` and `--check` are to be quick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from milepost.background import end
from milepost.errors import MilepostError

if TYPE_CHECKING:
    from milepost.tasks import Task
    from milepost_worker.leaving import Leaving
    from milepost_worker.settings import WorkerSettings

REFUSED = 2


@click.command(name="milepost worker")
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs at once.  [default: 10]")
@click.option("--queue", "queues", multiple=True, help="A queue to take jobs from; the first has priority.")
@click.option("--burst", is_flag=True, default=None, help="Leave when nothing is due and nothing runs.")
@click.option("--max-jobs-before-exit", type=click.IntRange(min=1), help="Leave after so many attempts.")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65_535), help="Serve numbers for Prometheus there (0: any port)."
)
@click.option("--watch", is_flag=True, help="Start again whenever a Python file changes.")
@click.option("--check", is_flag=True, help="Say by the exit code whether a worker of this host is there.")
@click.option("--pid", type=click.IntRange(min=1), help="With --check: only the worker with this process id.")
def command(
    modules: tuple[str, ...],
    queues: tuple[str, ...],
    watch: bool,
    check: bool,
    pid: int | None,
    **given: Any,
) -> int:
    """Run the tasks defined in MODULEs; without any, the built-in ones."""
    if pid is not None and not check:
        raise click.UsageError("--pid goes with --check.")
    if check:
        from milepost_worker.checking import check as checked

        return checked(queues, modules, pid)
    settings = _settings(queues, given)
    if watch:
        return _watch(modules, queues, settings, given)
    return _work(settings, modules)


def _settings(queues: tuple[str, ...], given: Mapping[str, Any]) -> WorkerSettings:
    from milepost.redis import check_url
    from milepost.settings import load
    from milepost.tasks import QUEUE_NAME
    from milepost_worker.settings import WorkerSettings

    for queue in queues:
        if not QUEUE_NAME.fullmatch(queue):
            raise click.BadParameter(
                f"{queue!r} is no queue name: use up to 64 letters, digits, '_', '.' and '-'.",
                param_hint="--queue",
            )
    settings = load(WorkerSettings, queues=queues or None, **given)
    check_url(settings.redis_url)
    return settings


def _watch(
    modules: tuple[str, ...], queues: tuple[str, ...], settings: WorkerSettings, given: Mapping[str, Any]
) -> int:
    from milepost_worker.watching import watch_worker

    if settings.burst or settings.max_jobs_before_exit is not None:
        raise click.UsageError(
            "--watch keeps a worker running: it goes without --burst and --max-jobs-before-exit."
        )
    flags = {"concurrency": given["concurrency"], "metrics-port": given["metrics_port"]}
    arguments = [f"--{name}={value}" for name, value in flags.items() if value is not None]
    arguments += [f"--queue={queue}" for queue in queues]
    stop_seconds = settings.stop_grace_seconds + 5
    return asyncio.run(watch_worker(modules, [*arguments, "--", *modules], stop_seconds=stop_seconds))


def _work(settings: WorkerSettings, modules: Sequence[str]) -> int:
    from milepost.logs import configure_logs
    from milepost.reporting import capture_logs
    from milepost_worker.leaving import ending_when_refused, heeding_signals
    from milepost_worker.modules import BUILTIN, import_tasks

    configure_logs(settings)
    if settings.capture_logs_level is not None:
        capture_logs(settings.capture_logs_level)
    modules = modules or (BUILTIN,)
    with ending_when_refused(REFUSED):
        tasks = import_tasks(modules)
        with (
            heeding_signals(
                drain_seconds=settings.drain_seconds, stop_grace_seconds=settings.stop_grace_seconds
            ) as leaving,
            asyncio.Runner(loop_factory=_loop_factory()) as runner,
        ):
            runner.run(serve(settings, tasks, modules, leaving))
            leaving.done()
    return 0


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
        code = command.main(args=None if argv is None else list(argv), standalone_mode=False)
    except MilepostError as error:
        click.echo(f"milepost worker: {error}", err=True)
        return REFUSED
    except click.ClickException as error:
        click.echo(f"milepost worker: {error.format_message()} (--help lists the options)", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else 0


async def serve(
    settings: WorkerSettings, tasks: Mapping[str, Task[..., Any]], modules: Sequence[str], leaving: Leaving
) -> None:
    """Work until told to leave. Raises `SettingsError` when Redis or the port of the metrics cannot be had."""
    import structlog

    from milepost.reporting import ContextExecutor
    from milepost_worker.metrics import metrics_at
    from milepost_worker.service import open_service
    from milepost_worker.starting import redis_answers

    log = structlog.get_logger("milepost.worker")
    asyncio.get_running_loop().set_default_executor(ContextExecutor(thread_name_prefix="milepost-pool"))
    asked = asyncio.Event()
    leaving.tell(asked.set)
    answers = asyncio.create_task(
        redis_answers(settings.redis_url, within_seconds=settings.redis_wait_seconds)
    )
    await _either(answers, asked)
    if asked.is_set():
        return  # nothing was begun
    with metrics_at(settings.metrics_port, settings.metrics_host, slots=settings.concurrency) as metrics:
        async with open_service(settings, tasks, modules=modules, metrics=metrics) as service:
            leaving.last_resort = service.hand_back
            leaving.tell(service.leave)
            log.info("worker.ready", worker=service.id, queues=list(settings.queues), tasks=sorted(tasks))
            await service.work()
    log.info("worker.left", worker=service.id)


async def _either(work: asyncio.Task[None], asked: asyncio.Event) -> None:
    """Wait for the work, unless the worker is to leave before it is done."""
    waiting = asyncio.create_task(asked.wait())
    both: set[asyncio.Future[Any]] = {work, waiting}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if work.done():
        work.result()
    else:
        await end(work)
