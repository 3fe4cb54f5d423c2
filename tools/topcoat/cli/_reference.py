"""The command reference of the documentation, written from the command tree itself: ``python -m topcoat.cli._reference > doc/source/user/cli.rst``.

This module must never hold a word about a command that the command does not say itself.
"""

from __future__ import annotations

import inspect
import re

import click

from topcoat.cli import root

_HEAD = """\
.. This file is written by "python -m topcoat.cli._reference"; a test compares them.

=================
Command reference
=================

Every command takes the global options before its name: ``topcoat --profile demo plan``. Exit codes: 0 done, 1 the content is at fault, 2 the
arguments or the configuration are, 3 the infrastructure is (a recheck can help), 4 only images that may fail have failed.

``topcoat --options FILE COMMAND`` takes options out of a YAML file: global ones by their name without dashes, those of a command below its name,
an argument by its name in small letters. A list is an option that is repeated, a flag is true or false, an empty value is as if it were not there.
What stands on the command line comes after the file and has the last word; the file comes before the environment. A name that no command knows
is refused. With ``-`` for the file they come from standard input, and ``--keep-options FILE`` writes them down as they came: one step does for a
role what writing a file and running the command would.

.. code-block:: yaml

   profile: centos9-rdo
   registry: registry.example.org:5000
   plan:
     family: [nova, placement]
     gating-repo: gating
     patterns: [nova-api]
"""


def _text(text: str | None) -> str:
    """Help text as paragraphs of reStructuredText: what RST would read as markup is escaped."""
    clean = inspect.cleandoc(text or "").replace("\b\n", "")
    return re.sub(r"([*`|_\\])", r"\\\1", clean)


def _option(parameter: click.Option) -> list[str]:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    shape = parameter.metavar or ""
    if isinstance(parameter.type, click.Choice):
        shape = "|".join(parameter.type.choices)
    elif not shape and not parameter.is_flag and not parameter.count:
        shape = parameter.type.name.upper()
    notes = [_text(parameter.help)]
    if parameter.required:
        notes.append("Required.")
    if parameter.show_default and parameter.default is not None and not parameter.is_flag and str(parameter.default).strip():
        notes.append(f"Default: ``{parameter.default}``.")
    if parameter.envvar:
        variables = [parameter.envvar] if isinstance(parameter.envvar, str) else list(parameter.envvar)
        notes.append(f"Environment: {', '.join(f'``{name}``' for name in variables)}.")
    return [f"``{names}{' ' + shape if shape else ''}``", "    " + " ".join(note for note in notes if note), ""]


def _command(name: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=f"topcoat {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    title = f"topcoat {name}"
    lines = [f".. _cli-{name}:", "", title, "=" * len(title), "", f"``{title} {usage}``", "", _text(command.help), ""]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            lines += _option(parameter)
    return lines


def reference() -> str:
    """The whole page."""
    lines = [_HEAD, "Global options", "==============", ""]
    for parameter in root.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            lines += _option(parameter)
    context = click.Context(root, info_name="topcoat")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if command is not None and not command.hidden:
            lines += _command(name, command)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
