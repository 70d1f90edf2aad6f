"""`milepost cancel`, `retry` and `delete`: jobs by their ids, or all that a filter finds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from milepost.cli import exits, wording
from milepost.cli.listing import _filters, _given
from milepost.cli.options import Common, common, print_json

if TYPE_CHECKING:
    from milepost.client import BulkOutcome, Client

F = TypeVar("F", bound=Callable[..., Any])
One = Callable[["Client", str, Common], None]
Many = Callable[..., "BulkOutcome"]

_HOW = (
    click.option("--all", "every", is_flag=True, help="All jobs there are, instead of a filter."),
    click.option("--dry-run", is_flag=True, help="Say how many there are, and change nothing."),
    click.option("-y", "--yes", is_flag=True, help="Do not ask."),
)


def _some(function: F) -> F:
    """Add ids, and what says which jobs are meant instead."""
    decorated: Any = common(function)
    for option in reversed(_HOW):
        decorated = option(decorated)
    return click.argument("ids", metavar="[ID]...", nargs=-1)(_filters(decorated))  # type: ignore[no-any-return]


@click.command()
@_some
def cancel(*, ids: tuple[str, ...], common: Common, **options: Any) -> int:
    """Cancel jobs: those with an ID, or all that the filter finds.

    A job that waits is cancelled at once; of one that runs the worker is asked to stop it.
    """
    return _do("cancel", ids, options, common, _cancel_one, lambda client: client.cancel_all)


@click.command(short_help="Do finished jobs again, as new jobs.")
@_some
@click.option(
    "--allow-unknown-task", is_flag=True, help="With ids: wait for a worker if none offers the task."
)
def retry(*, ids: tuple[str, ...], common: Common, allow_unknown_task: bool, **options: Any) -> int:
    """Do finished jobs again, as new jobs, and print their ids: those with an ID, or all that the filter finds.

    Without --status a filter finds those that did not succeed.
    """

    def one(client: Client, job_id: str, common: Common) -> None:
        job = client.retry(job_id, allow_unknown_task=allow_unknown_task)
        print_json(job.to_wire()) if common.as_json else click.echo(job.id)

    if allow_unknown_task and not ids:
        raise click.UsageError("--allow-unknown-task is for jobs that are named by their ids.")
    return _do("retry", ids, options, common, one, lambda client: client.retry_all)


@click.command(short_help="Forget finished jobs, with their histories.")
@_some
def delete(*, ids: tuple[str, ...], common: Common, **options: Any) -> int:
    """Forget finished jobs, with their histories and results: those with an ID, or all that the filter finds."""
    return _do("delete", ids, options, common, _delete_one, lambda client: client.delete_all)


def _cancel_one(client: Client, job_id: str, common: Common) -> None:
    outcome = client.cancel(job_id)
    if common.as_json:
        print_json({"id": job_id, "outcome": outcome})
    elif not common.quiet:
        click.echo(_CANCEL.get(outcome, outcome))


_CANCEL = {
    "cancelled": "Cancelled.",
    "requested": "Its worker was asked to stop it.",
    "already_done": "It had ended already; nothing was changed.",
}


def _delete_one(client: Client, job_id: str, common: Common) -> None:
    client.delete(job_id)
    if common.as_json:
        print_json({"id": job_id, "outcome": "deleted"})
    elif not common.quiet:
        click.echo("Deleted.")


def _do(
    what: str,
    ids: Sequence[str],
    options: dict[str, Any],
    common: Common,
    one: One,
    many: Callable[[Client], Many],
) -> int:
    every, dry_run, yes = (options.pop(name) for name in ("every", "dry_run", "yes"))
    wanted = _given(options)
    if bool(ids) == bool(wanted or every) or (wanted and every):
        raise click.UsageError(
            "Give ids, or a filter such as --status failed, or --all; and one of them only."
        )
    if ids and dry_run:
        raise click.UsageError("--dry-run is for filters: with ids it is known which jobs are meant.")
    with common.client() as client:
        if ids:
            return _each(client, ids, common, one)
        return _all(what, many(client), {**wanted, "every": every}, common, dry_run=dry_run, yes=yes)


def _each(client: Client, ids: Sequence[str], common: Common, one: One) -> int:
    """Do it to each. One that cannot be done keeps no other from it; the first error decides the exit code."""
    from milepost.client import ClientError
    from milepost.errors import JobNotFound

    code = exits.OK
    for job_id in ids:
        try:
            one(client, job_id, common)
        except (ClientError, JobNotFound) as error:
            if len(ids) == 1:
                raise
            click.echo(f"milepost: {wording.clean(job_id)}: {error}", err=True)
            code = code or exits.code_of(error)
    return code


def _all(what: str, many: Many, wanted: dict[str, Any], common: Common, *, dry_run: bool, yes: bool) -> int:
    if dry_run or not yes:
        found = many(**wanted, dry_run=True)
        if dry_run:
            return _show(found, f"There {_are(found)} to {what}", common)
        if not found.matched:
            return _show(found, f"There {_are(found)} to {what}", common)
        if not sys.stdin.isatty():
            raise click.UsageError(f"There {_are(found)} to {what}. Say --yes to do it without being asked.")
        click.confirm(f"There {_are(found)} to {what}. Go on?", abort=True, err=True)
    done = many(**wanted)
    _show(done, f"{_DONE[what]} {done.changed:,} of {_number(done)}", common)
    return exits.JOB_FAILED if done.refusals else exits.OK


_DONE = {"cancel": "Cancelled, or asked to stop,", "retry": "Submitted again", "delete": "Deleted"}


def _show(outcome: BulkOutcome, sentence: str, common: Common) -> int:
    if common.as_json:
        from dataclasses import asdict

        print_json({**asdict(outcome), "capped": sorted(outcome.capped)})
    elif not common.quiet:
        click.echo(f"{sentence}.")
    for refusal in outcome.refusals:
        common.hint(f"{refusal.id}: {wording.clean(refusal.detail)}")
    return exits.OK


def _are(found: BulkOutcome) -> str:
    return f"{'is' if found.matched == 1 else 'are'} {_number(found)}"


def _number(found: BulkOutcome) -> str:
    """Return how many jobs, and of which status.

    >>> from milepost.client import BulkOutcome
    >>> _number(BulkOutcome(matched=10_002, by_status={"failed": 10_000, "expired": 2}, capped=frozenset({"failed"})))
    '10,002+ jobs (10,000+ failed, 2 expired)'
    """
    if not found.matched:
        return "no jobs"
    parts = [
        f"{jobs:,}{'+' if status in found.capped else ''} {status}"
        for status, jobs in found.by_status.items()
    ]
    more = "+" if found.capped else ""
    return f"{found.matched:,}{more} job{'' if found.matched == 1 else 's'} ({', '.join(parts)})"
