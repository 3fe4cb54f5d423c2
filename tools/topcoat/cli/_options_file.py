"""``--options FILE``: the options of a call out of a YAML file, so that a role writes values and no command line.

This module must never know an option by its name: what may stand in the file is asked of the commands themselves.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import click

from topcoat.documents import Door
from topcoat.errors import UsageError, machine_error
from topcoat.process.files import write_whole

_NEXT = "write the names of options without dashes, those of a command below its name"
_DOOR = Door(UsageError, _NEXT)
_NOTHING: tuple[object, ...] = (None, "", [], {})
"""Values that say nothing: a role's variable that nobody has set."""


def expand(group: click.Group, context: click.Context, words: Sequence[str]) -> list[str]:
    """The words of a call with those of its ``--options`` file before them, so that the call itself has the last word.

    :raises UsageError: the file names an option or a command that does not exist, or gives a value of another kind; it cannot be read or kept.
    """
    given, rest, _ = group.make_parser(context).parse_args(args=list(words))
    if given.get("keep_options") and not given.get("options"):
        raise UsageError("there are no options to keep", next_step="name a file with --options, or '-' for standard input")
    if not given.get("options") or not rest:
        return list(words)
    where, content = _content(str(given["options"]))
    shared, sections = _sections(group, context, content, where)
    if given.get("keep_options"):
        _keep(Path(given["keep_options"]), content)
    name, own = rest[0], rest[1:]
    command = group.get_command(context, name)
    if command is None:
        return list(words)
    options, positionals = _words(command, sections.get(name, {}), f"{where}, {name}")
    end = [] if "--" in own or not positionals else ["--"]
    return [*_words(group, shared, where)[0], *words[: len(words) - len(rest)], name, *options, *own, *end, *positionals]


def _sections(group: click.Group, context: click.Context, content: bytes, where: str) -> tuple[dict[str, object], dict[str, Mapping[str, object]]]:
    """Global options, and the options of each command that has a section."""
    shape = _DOOR.shape("the file of options", where=where)
    found = shape.table(_DOOR.yaml(content, "the file of options", where=where), "it")
    shared = options_of(group)
    # --set is older than the command of that name, whose options have no section in a file
    commands = set(group.list_commands(context)) - set(shared)
    known = {**shared, **dict.fromkeys(commands)}
    for name in found:
        if name not in known:
            _unknown(str(name), known, where)
    return (
        {name: value for name, value in found.items() if name not in commands},
        {name: shape.table(value, name) for name, value in found.items() if name in commands},
    )


def _content(file: str) -> tuple[str, bytes]:
    """(what errors call it, what it says) of a file, or of standard input for ``-``."""
    if file != "-":
        return file, _DOOR.read(Path(file), "the file of options")
    content = sys.stdin.buffer.read(_DOOR.limit + 1)
    if not content.strip():
        raise UsageError(
            "no options came", where="standard input", next_step="a file is named by its path; '-' waits for what another program writes"
        )
    return "standard input", content


def _keep(file: Path, content: bytes) -> None:
    """Write options down as they came, for whoever runs the command again."""
    try:
        write_whole(file, content)
    except OSError as error:
        what = f"the options cannot be kept: {error.strerror}"
        raise machine_error(error) or UsageError(what, where=str(file), next_step="name a file that can be written") from error


def options_of(command: click.Command) -> dict[str, click.Parameter]:
    """What a command takes, by the name it has in a file: that of its first long option, or of the argument."""
    found: dict[str, click.Parameter] = {}
    for parameter in command.params:
        long = [word[2:] for word in parameter.opts if word.startswith("--")] if isinstance(parameter, click.Option) else []
        for name in long or [str(parameter.name).replace("_", "-")]:
            found[name] = parameter
    for name in ("options", "keep-options"):
        found.pop(name, None)
    return found


def _words(command: click.Command, values: Mapping[str, object], where: str) -> tuple[list[str], list[str]]:
    """(options, arguments) as they would stand on a command line."""
    known = options_of(command)
    options: list[str] = []
    arguments: list[str] = []
    for name, value in values.items():
        parameter = known.get(name) or _unknown(str(name), known, where)
        if value in _NOTHING:
            continue
        if isinstance(parameter, click.Option) and parameter.is_flag:
            options += _flag(parameter, name, value, where)
            continue
        texts = _texts(parameter, name, value, where)
        if isinstance(parameter, click.Option):
            options += [f"--{name}={text}" for text in texts]
        else:
            arguments += texts
    return options, arguments


def _flag(parameter: click.Option, name: str, value: object, where: str) -> list[str]:
    if not isinstance(value, bool | int | str):
        _wrong(name, "true or false", where)
    try:
        on = click.BOOL.convert(value, parameter, None)
    except click.BadParameter:
        _wrong(name, "true or false", where)
    return [f"--{name}"] if on else list(parameter.secondary_opts[:1])


def _texts(parameter: click.Parameter, name: str, value: object, where: str) -> list[str]:
    """The value, or each of the values of an option that may be repeated; a mapping is NAME=VALUE each."""
    many = parameter.multiple or parameter.nargs == -1
    entries: Iterable[object] = value if isinstance(value, list) else [value]
    if isinstance(value, dict):
        entries = [f"{key}={_text(entry, name, where)}" for key, entry in value.items()]
    if not many and isinstance(value, list | dict):
        _wrong(name, "one value", where)
    return [_text(entry, name, where) for entry in entries]


def _text(value: object, name: str, where: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        _wrong(name, "a text or a number", where)
    return str(value)


def _wrong(name: str, wanted: str, where: str) -> NoReturn:
    raise UsageError(f"{name} is not {wanted}", where=where, next_step=_NEXT)


def _unknown(name: str, known: Iterable[str], where: str) -> NoReturn:
    near = difflib.get_close_matches(name, sorted(known), 1)
    raise UsageError(f"there is no option {name!r}", where=where, next_step=f"did you mean {near[0]!r}?" if near else _NEXT)
