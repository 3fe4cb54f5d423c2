"""Which scriptlets and triggers of a transaction would run, and which of those are known to do nothing.

This module must never call a text harmless that it does not know word for word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from topcoat.synthesis import libraries
from topcoat.synthesis.package import Package, Script
from topcoat.synthesis.refusal import Refusal
from topcoat.synthesis.tree import Tree

_OF_NEW = ("pre", "post", "pretrans", "posttrans")
_OF_OLD = ("preun", "postun", "preuntrans", "postuntrans")
_SHELLS = (("/bin/sh",), ("/usr/bin/sh",), ("/bin/bash",), ("/usr/bin/bash",))
_NOTHING = re.compile(r"\s*(?:#.*|:|true|exit 0)?\s*")
HELPER = "usr/lib/systemd/systemd-update-helper"
"""What the macros of systemd call, where it is there."""
# The bodies of %systemd_post, %systemd_preun and %systemd_postun* (systemd's macros.systemd since release 250), once for each unit.
_WORD = r"[A-Za-z0-9@:._\\-]+"
_SYSTEMD = re.compile(
    rf'(?m)^[ \t]*if \[ \$1 -(?:eq|ge|gt|ne) [0-9]+ \] && \[ -x "/{re.escape(HELPER)}" \]; then[ \t]*\n'
    rf"(?:[ \t]*(?:#.*|/{re.escape(HELPER)}(?: {_WORD})+ \|\| :)?[ \t]*\n)+"
    r"fi[ \t]*(?=\n|\Z)"
)
# A command of words alone: nothing in it is done where the words before it already decided.
_WORDS = r"""(?:[A-Za-z0-9 \t@%+=:,./_-]|"[A-Za-z0-9 \t@%+=:,./_-]*"|'[A-Za-z0-9 \t@%+=:,./_-]*')+"""
_QUIET = r"(?:[ \t]*(?:&>|[12]?>)[ \t]*/dev/null|[ \t]*2>&1)*"
_OR_NOTHING = r"(?:[ \t]*\|\|[ \t]*(?::|true|exit 0))?"
# Packages make their accounts so, where the accounts are not there.
_ACCOUNT = re.compile(
    rf"[ \t]*getent[ \t]+(?P<table>group|passwd)[ \t]+(?P<name>[a-z_][a-z0-9_-]*){_QUIET}[ \t]*\|\|{_WORDS}{_QUIET}{_OR_NOTHING}[ \t]*"
)
_PROGRAM = r"/[A-Za-z0-9@:._/-]+"
# What is only done where a program is there.
_ABSENT = re.compile(
    rf"[ \t]*\[ (?:! -x (?P<one>{_PROGRAM}) \][ \t]*\|\|{_WORDS}{_QUIET}{_OR_NOTHING}"
    rf"|-x (?P<other>{_PROGRAM}) \][ \t]*&&{_WORDS}{_QUIET}[ \t]*\|\|[ \t]*(?::|true|exit 0))[ \t]*"
)
# What every package with a library runs, and glibc whenever a file below /usr/lib moves.
_LDCONFIG = ("/sbin/ldconfig", "/usr/sbin/ldconfig")
_OF_LDCONFIG = re.compile(rf"[ \t]*(?P<program>(?:/usr)?/sbin/ldconfig|ldconfig){_QUIET}{_OR_NOTHING}[ \t]*")
_SEARCHED = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
"""PATH of a scriptlet."""


class _Moves:
    """What a transaction does to a tree, as far as scriptlets ask."""

    def __init__(self, installs: Sequence[Package], removes: Sequence[Package], tree: Tree) -> None:
        self.installs, self.removes, self.tree = installs, removes, tree
        self._ldconfig: dict[str, bool] = {}

    @cached_property
    def paths(self) -> list[str]:
        """Every file of the packages that come and go, absolute."""
        return [f"/{path}" for package in (*self.installs, *self.removes) for path in package.paths()]

    def is_idle_ldconfig(self, program: str) -> bool:
        """Whether a program is the image's ldconfig, and would leave everything as it is."""
        place = self.program(program)
        if not place.endswith("/ldconfig"):
            return False
        if place not in self._ldconfig:
            self._ldconfig[place] = libraries.unchanged(self.tree, (path[1:] for path in self.paths), place)
        return self._ldconfig[place]

    def program(self, name: str) -> str:
        """Where a program lies, a path without links; empty where it is no plain file that root may run."""
        candidates = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in _SEARCHED]
        found = next((real for path in candidates if self.tree.has(real := self.tree.resolve(path))), "")
        node = self.tree.nodes.get(found)
        return found if node is not None and node.kind == "f" and node.mode & 0o100 else ""


def check_scripts(installs: Sequence[Package], removes: Sequence[Package], others: Sequence[Package], tree: Tree) -> None:
    """Refuse what would run something.

    :param installs: headers of the packages that come; ``removes``: of those that go, replaced ones among them; ``others``: of those that stay.
    :raises Refusal: a scriptlet or a trigger would run that is not known to do nothing.
    """
    moves = _Moves(installs, removes, tree)
    for package, kinds in ((package, _OF_NEW) for package in installs):
        _check_own(package, kinds, moves)
    for package, kinds in ((package, _OF_OLD) for package in removes):
        _check_own(package, kinds, moves)
    names = {package.nevra.name for package in (*installs, *removes)}
    everything = names | {package.nevra.name for package in others}
    for package in (*installs, *removes):
        if package.has_triggers and (package.trigger_paths or package.trigger_names & everything):
            raise Refusal(f"{package.nevra.name} has triggers")
    for package in others:
        if not package.has_triggers:
            continue
        hit = sorted(package.trigger_names & names)
        if hit:
            raise Refusal(f"{package.nevra.name} has a trigger on {hit[0]}")
        prefixes = package.trigger_paths
        if not prefixes or not any(path.startswith(prefixes) for path in moves.paths):
            continue
        for prefix, script in package.file_triggers:
            if any(path.startswith(prefix) for path in moves.paths) and not _does_nothing(script, moves):
                raise Refusal(f"{package.nevra.name} has a trigger on files below {prefix}")


def _check_own(package: Package, kinds: Sequence[str], moves: _Moves) -> None:
    for script in package.scripts:
        if script.kind in kinds and not _does_nothing(script, moves):
            raise Refusal(f"{package.nevra.name} has a scriptlet (%{script.kind})")


def _does_nothing(script: Script, moves: _Moves) -> bool:
    installs, tree = moves.installs, moves.tree
    program = script.program or _SHELLS[0]  # rpm's own default
    if len(program) == 1 and program[0] in _LDCONFIG and not script.body:
        return moves.is_idle_ldconfig(program[0])
    if program not in _SHELLS:
        return False
    shell = tree.nodes.get(tree.resolve(program[0]))
    if shell is None or shell.kind != "f":
        return False  # it would fail
    # The shell joins such lines, but not in a comment; a comment that ends so is left to it.
    body = script.body
    if re.search(r"#.*\\\n", body):
        return False
    body, times = _SYSTEMD.subn("", body.replace("\\\n", ""))
    if times and (tree.has(HELPER) or any(path == HELPER for package in installs for path in package.paths())):
        return False
    lines = body.split("\n")
    return all(_NOTHING.fullmatch(line) or _is_there(line, moves) or _is_absent(line, moves) or _is_idle(line, moves) for line in lines)


def _is_idle(line: str, moves: _Moves) -> bool:
    """Whether a line runs ldconfig where that changes nothing."""
    match = _OF_LDCONFIG.fullmatch(line)
    return match is not None and moves.is_idle_ldconfig(match["program"])


def _is_there(line: str, moves: _Moves) -> bool:
    """Whether a line makes an account unless the image has it, and the image has it and a program that says so."""
    match, tree = _ACCOUNT.fullmatch(line), moves.tree
    if match is None or match["name"] not in tree.ids(f"etc/{match['table']}"):
        return False
    for text in tree.contents.get("etc/nsswitch.conf", b"").decode("utf-8", "replace").splitlines():
        words = text.partition("#")[0].split()
        if words and words[0] == f"{match['table']}:" and ("[" in text or not {"files", "compat"} & set(words)):
            return False
    return moves.program("getent").endswith("/getent")


def _is_absent(line: str, moves: _Moves) -> bool:
    """Whether a line does something only where a program is there, and it is not and does not come."""
    match, tree = _ABSENT.fullmatch(line), moves.tree
    if match is None:
        return False
    wanted = tree.resolve(match["one"] or match["other"])
    return not tree.has(wanted) and not any(tree.resolve(path) == wanted for package in moves.installs for path in package.paths())
