"""The `milepost` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from milepost.cli import exits
from milepost.cli.actions import cancel, delete, retry
from milepost.cli.completion import completion
from milepost.cli.jobs import result, submit, tasks, watch
from milepost.cli.listing import count_jobs, list_jobs
from milepost.cli.processes import api, database, worker
from milepost.cli.tokens import token
from milepost.cli.up import up
from milepost.errors import MilepostError


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("milepost")
    except PackageNotFoundError:
        return "(not installed)"  # run from a checkout


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"milepost {_version()}")
        context.exit()


class _Commands(click.Group):
    """Whoever read our output may have seen enough (`| head`): that is no error, and no outcome either."""

    def invoke(self, context: click.Context) -> Any:
        try:
            result = super().invoke(context)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered goes nowhere: the interpreter would complain about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(exits.READER_GONE) from None
        return result


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=exits.HELP)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def cli() -> None:
    """Live progress for background jobs: submit them, watch them, run what runs them."""


_JOBS = (submit, watch, cancel, retry, delete, result, list_jobs, count_jobs, tasks, token)
for command in (up, api, worker, database, *_JOBS, completion):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Errors are sentences on standard error."""
    try:
        result = cli.main(
            args=None if arguments is None else list(arguments), prog_name="milepost", standalone_mode=False
        )
    except click.exceptions.Abort:
        return exits.INTERRUPTED
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return exits.USAGE
    except MilepostError as error:
        click.echo(f"milepost: {error}", err=True)
        return exits.code_of(error)
    return result if isinstance(result, int) else exits.OK


if __name__ == "__main__":
    sys.exit(main())
