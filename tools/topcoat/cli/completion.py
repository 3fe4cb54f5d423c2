"""``topcoat completion``: the script that makes a shell complete our words."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell. For bash: topcoat completion bash > ~/.local/share/bash-completion/completions/topcoat"""
    from click.shell_completion import get_completion_class

    from topcoat.cli import root

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(root, {}, "topcoat", "_TOPCOAT_COMPLETE").source())
