"""`milepost token`: something that a browser may have."""

from __future__ import annotations

import click

from milepost.cli import exits
from milepost.cli.options import Common, common, print_json


@click.command(short_help="Make a token that only reads, for a browser.")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--tag", help="All jobs with this tag.")
@click.option("--batch", help="All jobs of this batch.")
@click.option("--all", "every", is_flag=True, help="All jobs there are.")
@click.option("--ttl-seconds", type=click.IntRange(1, 86_400), help="How long it opens streams [900].")
@common
def token(
    *,
    ids: tuple[str, ...],
    tag: str | None,
    batch: str | None,
    every: bool,
    ttl_seconds: int | None,
    common: Common,
) -> int:
    """Print a token that reads the jobs with an ID, or a selection of jobs, for some time, and does nothing else.

    A page gives it to its EventSource, ?token=TOKEN; other programs send it in the place of an API key.
    """
    if [bool(ids), tag is not None, batch is not None, every].count(True) != 1:
        raise click.UsageError("Give ids, or --tag, or --batch, or --all; and one of them only.")
    with common.client() as client:
        made = client.stream_token(ids, tag=tag, batch=batch, every=every, ttl_seconds=ttl_seconds)
    if common.as_json:
        print_json(
            {
                "token": made.token,
                "expires_at": made.expires_at,
                "resumable_until": made.resumable_until,
                "stream_url": made.stream_url,
            }
        )
        return exits.OK
    click.echo(made.token)
    common.hint(f"It opens streams until {made.expires_at}.")
    return exits.OK
