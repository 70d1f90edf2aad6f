"""`milepost completion`: what a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_INSTALL = {
    "bash": 'eval "$(milepost completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(milepost completion zsh)"    in ~/.zshrc',
    "fish": "milepost completion fish > ~/.config/fish/completions/milepost.fish",
}


@click.command(epilog="\b\n" + "\n".join(_INSTALL.values()))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter("this click cannot complete for that shell.", param_hint="SHELL")
    click.echo(kind(context.find_root().command, {}, "milepost", "_MILEPOST_COMPLETE").source())
