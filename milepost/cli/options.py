"""Options that commands share, and the client made of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from milepost.client import Client

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Common:
    """What every command that talks to a server was told."""

    url: str | None
    api_key: str | None
    as_json: bool
    quiet: bool
    no_color: bool

    def client(self) -> Client:
        """Return a client of the server meant. Raises `SettingsError`."""
        from milepost.client import Client

        return Client(self.url, api_key=self.api_key)

    def hint(self, text: str) -> None:
        """Say on standard error what may help a person, unless nobody asked."""
        if not self.quiet:
            click.echo(text, err=True)

    def command(self, name: str, job_id: str) -> str:
        """Return how to type that command for this job on the same server."""
        return f"milepost {name} {job_id}" + (f" --url {self.url}" if self.url else "")

    def colour(self, stream: TextIO) -> bool:
        """Whether to colour what goes to `stream` (https://no-color.org: any value but "" says no)."""
        return not self.no_color and not os.environ.get("NO_COLOR") and stream.isatty()


_OPTIONS = (
    click.option("--url", metavar="URL", help="Where Milepost is [MILEPOST_URL, or http://127.0.0.1:8000]."),
    click.option(
        "--api-key",
        metavar="KEY",
        help="Better set MILEPOST_API_KEY: other users of this machine can read arguments.",
    ),
    click.option(
        "--json", "as_json", is_flag=True, help="JSON on standard output; one event a line when watching."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Nothing but what was asked for, and errors."),
    click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR in the environment)."),
)


def common(function: F) -> F:
    """Add the shared options to a command; it gets them as one `common` argument."""
    from functools import wraps

    @wraps(function)
    def wrapper(
        *args: Any,
        url: str | None,
        api_key: str | None,
        as_json: bool,
        quiet: bool,
        no_color: bool,
        **kw: Any,
    ) -> Any:
        return function(*args, common=Common(url, api_key, as_json, quiet, no_color), **kw)

    decorated: Any = wrapper
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def print_json(value: Any) -> None:
    """Write one JSON value on a line of its own, at once: readers of a pipe wait for it."""
    from milepost.codec import dumps

    sys.stdout.write(dumps(value) + "\n")
    sys.stdout.flush()


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns by spaces: they read well and cut well (`awk`); the last one is as long as it is."""
    lines = [head, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head) - 1)]
    for line in lines:
        padded = (f"{text:<{width}}" for text, width in zip(line, [*widths, 0], strict=True))
        click.echo("  ".join(padded).rstrip())
