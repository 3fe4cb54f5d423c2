"""The variables of one tcib image and the Containerfile that they mean, instructions in tcib's order.

This module must never read or write files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from topcoat.documents.yamltree import Node
from topcoat.errors import UsageError
from topcoat.model.recipe import PARENT_LINE, PARENT_NAME, PARENT_TEXT
from topcoat.recipes.reading import nearest
from topcoat.recipes.templating import TemplateError, Templates

_VERBS = ("RUN", "COPY", "ADD", "USER", "WORKDIR", "ENV", "LABEL", "ARG", "EXPOSE", "VOLUME", "ENTRYPOINT", "CMD", "SHELL", "STOPSIGNAL") + (
    "HEALTHCHECK",
    "ONBUILD",
    "MAINTAINER",
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?")
_DEFAULTS: dict[str, object] = {
    "tcib_args": {},
    "tcib_labels": {},
    "tcib_envs": {},
    "tcib_onbuilds": [],
    "tcib_volumes": [],
    "tcib_workdir": "",
    "tcib_adds": [],
    "tcib_copies": [],
    "tcib_exposes": [],
    "tcib_user": "",
    "tcib_shell": "",
    "tcib_runs": [],
    "tcib_healthcheck": "",
    "tcib_stopsignal": "",
    "tcib_entrypoint": "",
    "tcib_cmd": "",
    "tcib_actions": [],
    "tcib_gather_files": [],
    "tcib_builder": "",
    "tcib_builder_copies": {},
}
_PYTHON = {"8": "3.6", "9": "3.9", "10": "3.12"}
"""Major release of the distribution to the version of its own Python; for any other release it must be given."""
_PREFIX = re.compile(r"^(?:(?:openstack|centos|rhel|ubi8)-)?(?:(?:binary|source|rdo|rhos)-)?")
_ARGUMENT = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_MISSING = object()


class Variables:
    """Values of one image, rendered when they are asked for, as Ansible does: settings win over files, files over defaults."""

    def __init__(
        self,
        name: str,
        own: Mapping[str, Node],
        settings: Mapping[str, str],
        templates: Templates,
        where: str,
        lookup: Callable[..., object],
        extra: Mapping[str, Node] | None = None,
    ) -> None:
        """Collect what is given.

        :param extra: variables of an extra configuration. They win over everything, as the variables of a play win over those of its hosts.
        """
        self.image = name
        self.where = where
        self._functions = {"lookup": lookup, "query": partial(lookup, wantlist=True), "q": partial(lookup, wantlist=True)}
        self._own = {**own, **(extra or {})}
        self._extra = frozenset(extra or {})
        self._templates = templates
        self._done: dict[str, object] = {}
        self._open: list[str] = []
        given: dict[str, object] = {key: value for key, value in settings.items() if key.startswith("tcib_")}
        if isinstance(modules := given.get("tcib_rhel_modules"), str):
            given["tcib_rhel_modules"] = dict(part.partition(":")[::2] for part in modules.split(",") if part)
        self._fixed: dict[str, object] = {
            "tcib_distro": "centos",
            "tcib_release": "9",
            "tcib_path": "",
            "tcib_package": "python-tcib-containers",
            "tcib_meta": {"name": _PREFIX.sub("", name)},
            **given,
        }
        self._fallback = dict(_DEFAULTS)

    @property
    def first_place(self) -> str:
        """``file:line`` of the definition."""
        own = next((node for key, node in self._own.items() if key not in self._extra), None)
        return f"{own.file}:1" if own is not None else self.where

    def place(self, key: str) -> str:
        """``file:line`` of a key."""
        return self._own[key].where if key in self._own else self.where

    def item_place(self, key: str, number: int) -> str:
        """``file:line`` of one item of a list."""
        items = self._own[key].items if key in self._own else []
        return items[number].where if number < len(items) else self.place(key)

    def get(self, key: str) -> object:
        """The rendered value of a variable, or a private marker when there is none."""
        if key in self._done:
            return self._done[key]
        if key in self._fixed and key not in self._extra:
            value = self._fixed[key]
        elif key in self._own:
            if key in self._open:
                raise UsageError(f"{key} refers to itself: {' -> '.join([*self._open, key])}", where=self.place(key), next_step="remove the loop")
            self._open.append(key)
            try:
                value = self.rendered(self._own[key])
            finally:
                self._open.pop()
        else:
            value = self._fallback.get(key, _MISSING)
        self._done[key] = value
        return value

    def rendered(self, node: Node) -> object:
        """The value of a node with every template in it rendered."""
        if node.kind == "map":
            return {key.text: self.rendered(value) for key, value in node.entries}
        if node.kind == "list":
            return [self.rendered(item) for item in node.items]
        if isinstance(node.value, str) and "{" in node.value and ("{{" in node.value or "{%" in node.value or "{#" in node.value):
            try:
                return self._templates.render(node.value, self._value_or_reason)
            except TemplateError as error:
                step = "define it in the image's YAML, or give --set; what templates may do is in the documentation of tcib trees"
                raise UsageError(str(error), where=node.where, image=self.image, next_step=step) from error
        return node.value

    def _value_or_reason(self, name: str) -> object:
        """For a template: a value that cannot be had only matters when it is used."""
        try:
            value = self.get(name)
        except UsageError as error:
            return self._templates.missing(error.what)
        if name == "tcib_from" and value is _MISSING:
            return PARENT_TEXT
        if name == "tcib_python_version" and value is _MISSING and (version := _PYTHON.get(str(self.get("tcib_release")).partition(".")[0])):
            return self._templates.assumed(version)
        if value is _MISSING:
            value = self._functions.get(name, _MISSING)
        return self._templates.missing(f"{name!r} is undefined") if value is _MISSING else value

    def error(self, key: str, what: str, step: str) -> UsageError:
        """A problem of one variable."""
        return UsageError(f"{key} {what}", where=self.place(key), image=self.image, next_step=step)

    def text(self, key: str) -> str:
        """A one-line text; empty when it is not set."""
        value = self.get(key)
        if value is None or value is _MISSING:
            return ""
        if isinstance(value, dict | list):
            raise self.error(key, "must be text", "write one value")
        return _line(str(value), self, key)

    def texts(self, key: str) -> list[tuple[str, str]]:
        """A list of one-line texts, each with ``file:line``."""
        value = self.get(key)
        if isinstance(value, str) and value:
            raise self.error(key, f"must be a list, not {value[:60]!r}", "write a list")
        if value in (None, "", {}):
            return []
        if not isinstance(value, list):
            raise self.error(key, "must be a list", "write a list")
        return [(_line(_scalar(item, self, key), self, key), self.item_place(key, number)) for number, item in enumerate(value)]

    def pairs(self, key: str, names: re.Pattern[str]) -> list[tuple[str, object]]:
        """A mapping of names to scalars."""
        value = self.get(key)
        if value in (None, "", []):
            return []
        if not isinstance(value, dict):
            raise self.error(key, "must be a mapping", "write 'name: value' lines")
        for name, item in value.items():
            if not names.fullmatch(name):
                raise self.error(key, f"has a name outside its grammar: {name!r}", f"names match {names.pattern}")
            if isinstance(item, dict | list):
                raise self.error(key, f"has a value that is not one scalar: {name}", "write one value")
            if isinstance(item, str) and ("\n" in item or _CONTROL.search(item)):
                raise self.error(key, f"has a newline or control character in {name}", "write it on one line")
        return list(value.items())


@dataclass(frozen=True)
class Declared:
    """What a Containerfile says about running the image, for checks; ``own_base``: the base that it names itself, arguments filled in."""

    own_base: str | None
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    user: str | None
    stop_signal: str | None


def containerfile(variables: Variables) -> tuple[str, Declared]:
    """The Containerfile of one image.

    Order: FROM, ARG, LABEL, ENV, USER root, ONBUILD, VOLUME, WORKDIR, ADD, EXPOSE, COPY, SHELL, runs, actions, HEALTHCHECK, STOPSIGNAL,
    ENTRYPOINT, CMD, USER. An image runs as root unless it sets a user itself: that of its parent does not reach it.

    Where a builder stage names arguments they stand before it too: an argument ends at the next FROM (Dockerfile reference, "Understand how ARG
    and FROM interact").

    :raises UsageError: with file and line.
    """
    lines: list[str] = []
    arguments = variables.pairs("tcib_args", _NAME)
    builder = variables.text("tcib_builder")
    if builder:
        lines += [f"ARG {name}={_json(value)}" for name, value in arguments if "$" in builder]
        lines.append(f"FROM {builder} as builder")
    own_base = _own_base(variables, dict(arguments))
    lines.append(PARENT_LINE)
    start = len(lines)
    lines += [f"ARG {name}={_json(value)}" for name, value in arguments]
    lines += [f"LABEL {name}={_json(value)}" for name, value in variables.pairs("tcib_labels", _LABEL)]
    lines += [f"ENV {name}={_json(value)}" for name, value in variables.pairs("tcib_envs", _NAME)]
    lines.append("USER root")
    lines += [f"ONBUILD {text}" for text, _ in variables.texts("tcib_onbuilds")]
    volumes = [text for text, _ in variables.texts("tcib_volumes")]
    if volumes:
        lines.append(f"VOLUME {json.dumps(volumes)}")
    workdir = variables.text("tcib_workdir")
    if workdir:
        lines.append(f"WORKDIR {_json(workdir)}")
    lines += [f"ADD {text}" for text, _ in variables.texts("tcib_adds")]
    lines += [f"EXPOSE {text}" for text, _ in variables.texts("tcib_exposes")]
    lines += [f"COPY {text}" for text, _ in variables.texts("tcib_copies")]
    if builder:
        lines += [f"COPY --from=builder {source} {target}" for source, target in variables.pairs("tcib_builder_copies", re.compile(r"\S+"))]
    shell = _words(variables, "tcib_shell")
    if shell:
        lines.append(f"SHELL {json.dumps(shell)}")
    lines += _runs(variables)
    lines += _actions(variables)
    healthcheck = variables.text("tcib_healthcheck")
    if healthcheck:
        lines.append(f"HEALTHCHECK {healthcheck}")
    stop_signal = variables.text("tcib_stopsignal")
    if stop_signal:
        lines.append(f"STOPSIGNAL {stop_signal}")
    entrypoint = _words(variables, "tcib_entrypoint")
    if entrypoint:
        lines.append(f"ENTRYPOINT {json.dumps(entrypoint)}")
    command = _words(variables, "tcib_cmd")
    if command:
        lines.append(f"CMD {json.dumps(command)}")
    user = variables.text("tcib_user")
    if user:
        lines.append(f"USER {user}")
    # An action may say what a variable did not; the last word counts, as for a builder.
    said = {verb: value for verb, _, value in (line.partition(" ") for line in lines[start:])}
    facts = Declared(own_base, _exec(said.get("ENTRYPOINT")), _exec(said.get("CMD")), said.get("USER"), said.get("STOPSIGNAL"))
    text = "\n".join(lines) + "\n"
    if len(re.findall(PARENT_NAME, text, re.IGNORECASE)) != text.count(PARENT_NAME):
        raise variables.error("tcib_from", "is changed by a template, but is known only when the image is built", "print it as it is")
    return text, facts


def _exec(value: str | None) -> tuple[str, ...] | None:
    """The words of ENTRYPOINT or CMD; text without a list is run by a shell."""
    if not value:
        return None
    try:
        words = json.loads(value)
    except ValueError:
        return ("/bin/sh", "-c", value)
    return tuple(str(word) for word in words) if isinstance(words, list) else ("/bin/sh", "-c", value)


def _own_base(variables: Variables, arguments: Mapping[str, object]) -> str | None:
    """``tcib_from`` with its build arguments filled in, as a builder would before it pulls."""

    def value_of(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in arguments:
            raise variables.error("tcib_from", f"uses the argument {name!r}, which has no value", "give it in tcib_args")
        return str(arguments[name])

    return _ARGUMENT.sub(value_of, variables.text("tcib_from")) or None


def _runs(variables: Variables) -> list[str]:
    value = variables.get("tcib_runs")
    if value in (None, "", {}):
        return []
    if not isinstance(value, list):
        raise variables.error("tcib_runs", "must be a list", "write a list of commands")
    return [_instruction(variables, "tcib_runs", variables.item_place("tcib_runs", number), "RUN", item) for number, item in enumerate(value)]


def _actions(variables: Variables) -> list[str]:
    value = variables.get("tcib_actions")
    if value in (None, "", {}):
        return []
    if not isinstance(value, list):
        raise variables.error("tcib_actions", "must be a list of '- verb: value'", "write '- run: command'")
    lines = []
    for number, action in enumerate(value):
        where = variables.item_place("tcib_actions", number)
        if not isinstance(action, dict):
            raise UsageError("an action must be 'verb: value'", where=where, image=variables.image, next_step="write '- run: command'")
        for verb, item in action.items():
            if verb.upper() not in _VERBS:
                hint = nearest(verb.upper(), _VERBS)
                raise UsageError(f"unknown verb {verb!r}{hint}", where=where, image=variables.image, next_step=f"verbs: {', '.join(_VERBS).lower()}")
            if isinstance(item, list) and item and all(isinstance(part, list) for part in item):
                lines += [_instruction(variables, "tcib_actions", where, verb.upper(), part) for part in item]
            else:
                lines.append(_instruction(variables, "tcib_actions", where, verb.upper(), item))
    return lines


def _instruction(variables: Variables, key: str, where: str, verb: str, value: object) -> str:
    """``VERB value``; a list is the JSON exec form."""
    if isinstance(value, list):
        return f"{verb} {json.dumps([_scalar(item, variables, key) for item in value])}"
    text = "" if value is None else _scalar(value, variables, key).strip("\n")
    if not text.strip():
        raise UsageError(f"{verb} has no value", where=where, image=variables.image, next_step="write a value or remove the entry")
    lines = text.split("\n")
    if len(lines) > 1 and "<<" not in lines[0] and not all(line.rstrip().endswith("\\") for line in lines[:-1]):
        step = "fold the lines with '>-', or end each with a backslash"
        raise UsageError(f"{verb} has several lines that do not continue each other", where=where, image=variables.image, next_step=step)
    return f"{verb} {text}"


def _words(variables: Variables, key: str) -> list[str]:
    """A command: text is split at blanks, as tcib does; a list is taken as it is."""
    value = variables.get(key)
    if isinstance(value, list):
        return [_scalar(item, variables, key) for item in value]
    return variables.text(key).split()


def _scalar(value: object, variables: Variables, key: str) -> str:
    if value is None or isinstance(value, dict | list):
        raise variables.error(key, "has an entry that is not text", "write one value")
    text = str(value)
    if _CONTROL.search(text):
        raise variables.error(key, "holds a control character", "remove it")
    return text


def _line(text: str, variables: Variables, key: str) -> str:
    if _CONTROL.search(text):
        raise variables.error(key, "holds a control character", "remove it")
    text = text.strip("\n")
    if "\n" in text:
        raise variables.error(key, "holds a newline", "write it on one line")
    return text


def _json(value: object) -> str:
    """A value of ARG, LABEL, ENV or WORKDIR. Builders do not read escapes of JSON there, so what is not ASCII stays as it is."""
    return json.dumps(value, ensure_ascii=False)
