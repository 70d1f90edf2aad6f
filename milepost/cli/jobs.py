"""`milepost submit`, `watch`, `result` and `tasks`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from milepost.cli import exits, wording
from milepost.cli.options import Common, common, print_json, print_table
from milepost.cli.params import read_params

if TYPE_CHECKING:
    from milepost.client import SubmitOptions, TaskEntry


@click.command()
@click.argument("task")
@click.option(
    "-p",
    "--param",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="One param; may be given several times.",
)
@click.option(
    "--params-json", metavar="JSON", help="All params as a JSON object; - reads it from standard input."
)
@click.option("-f", "--follow", "follow_it", is_flag=True, help="Watch the job until it ends.")
@click.option("--tag", "tags", multiple=True, help="A word to find the job by; may be given several times.")
@click.option("--batch", "batch_id", help="A name for jobs that belong together, to find them by.")
@click.option("--queue", help="The queue [that of the task].")
@click.option("--priority", type=int, help="Higher goes first.")
@click.option("--delay-seconds", type=float, help="Start it that much later.")
@click.option("--run-at", metavar="TIME", help="Start it then (RFC 3339, as 2030-01-31T08:00:00Z).")
@click.option("--timeout-seconds", type=float, help="How long one attempt may take.")
@click.option("--max-attempts", type=int, help="How often it is tried.")
@click.option(
    "--allow-unknown-task",
    is_flag=True,
    default=None,
    help="Wait for a worker that offers TASK if none ever did.",
)
@click.option("--idempotency-key", metavar="KEY", help="The same key again starts no second job.")
@click.option("--id", "job_id", metavar="ID", help="An id of your own; the same again starts no second job.")
@common
def submit(
    *,
    task: str,
    pairs: tuple[str, ...],
    params_json: str | None,
    follow_it: bool,
    idempotency_key: str | None,
    job_id: str | None,
    common: Common,
    **options: Any,
) -> int:
    """Submit a job for TASK and print its id.

    A VALUE that is JSON is taken as JSON, anything else as text: steps=5 is a number, path=a.csv a text.
    To send digits as text, quote them for JSON: --param 'zip="01234"'.
    """
    if job_id is not None and idempotency_key is not None:
        raise click.UsageError("Give --id or --idempotency-key, not both: the id is the key.")
    params = read_params(pairs, params_json, sys.stdin.read)
    how: SubmitOptions = {name: value for name, value in options.items() if value not in (None, ())}  # type: ignore[assignment]
    with common.client() as client:
        try:
            job = client.submit(task, params, idempotency_key=idempotency_key, job_id=job_id, **how)
        except KeyboardInterrupt:
            common.hint(
                "\nInterrupted before the server had answered; `milepost list` shows whether it took the job."
            )
            return exits.INTERRUPTED
        if follow_it:
            from milepost.cli.follow import follow

            if not common.as_json:
                common.hint(f"Job {job.id}")
            return follow(client, job.id, common)
    if common.as_json:
        print_json(job.to_wire())
    else:
        click.echo(job.id)
        common.hint(f"Watch it: {common.command('watch', job.id)}")
    return exits.OK


@click.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--tag", help="Instead of ids: the jobs that carry this tag.")
@click.option("--batch", help="Instead of ids: the jobs of this batch.")
@click.option(
    "--give-up-seconds",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    help="How long the server may be away, once it was there.",
)
@common
def watch(
    job_ids: tuple[str, ...], tag: str | None, batch: str | None, give_up_seconds: float, common: Common
) -> int:
    """Watch a job, or several, until they end. Ctrl-C stops the watching, never the jobs."""
    if bool(job_ids) == (tag is not None or batch is not None):
        raise click.UsageError("Name one job or more, or give --tag or --batch.")
    with common.client() as client:
        if len(job_ids) == 1:
            from milepost.cli.follow import follow

            return follow(client, job_ids[0], common, give_up_seconds=give_up_seconds)
        from milepost.cli.follow_many import follow_many

        named = job_ids or None
        return follow_many(client, named, common, tag=tag, batch=batch, give_up_seconds=give_up_seconds)


@click.command()
@click.argument("job_id", metavar="ID")
@common
def result(job_id: str, common: Common) -> int:
    """Print what a job returned, as JSON."""
    with common.client() as client:
        print_json(client.result(job_id))
    return exits.OK


@click.command()
@common
def tasks(common: Common) -> int:
    """List the tasks that can be submitted."""
    from dataclasses import asdict

    with common.client() as client:
        found = client.tasks()
    if common.as_json:
        print_json({"items": [asdict(task) for task in found]})
    elif found:
        print_table(("TASK", "PARAMS", "WHAT IT DOES"), [_task_row(task) for task in found])
    else:
        common.hint("No worker has offered a task yet: milepost worker MODULE")
    return exits.OK


def _task_row(task: TaskEntry) -> tuple[str, ...]:
    required = task.params_schema.get("required", ())
    names = [
        f"{name}" if name in required else f"[{name}]" for name in task.params_schema.get("properties", {})
    ]
    first_line = task.description.strip().partition("\n")[0]
    absent = " (no worker offers it now)" if task.workers == 0 else ""
    return tuple(wording.clean(text) for text in (task.name, " ".join(names), first_line + absent))
