"""What an image list consists of, whoever wrote it: entries with their conditions, variables, old names.

This module must never read a file.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from topcoat.errors import UsageError
from topcoat.recipes.reading import nearest

BUILT_IN = ("registry", "namespace", "prefix", "suffix", "tag")
"""Variables that every list has; their defaults come from the profile."""
Conditions = tuple[tuple[str, tuple[str, ...]], ...]
"""(variable, values that satisfy it) pairs; all must hold."""


@dataclass(frozen=True)
class Variable:
    """A value a caller may give; with ``values`` only one of these is accepted."""

    name: str
    default: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListEntry:
    """One image of the list: ``image`` names a recipe, or ``reference`` is the template of an external image."""

    where: str
    image: str | None = None
    reference: str | None = None
    source: str = ""
    parameters: tuple[str, ...] = ()
    services: tuple[tuple[str, Conditions], ...] = ()
    when: Conditions = ()


@dataclass(frozen=True)
class Alias:
    """An old name of an image, kept until a date (inclusive)."""

    name: str
    image: str
    until: datetime.date
    where: str


@dataclass(frozen=True)
class ListTemplate:
    """A whole template."""

    name: str
    description: str
    variables: tuple[Variable, ...]
    entries: tuple[ListEntry, ...]
    aliases: tuple[Alias, ...]
    where: str
    subset: bool = False
    """Whether it is a selection, which need not name every image of the tree."""
    left_out: tuple[tuple[str, str], ...] = ()
    """(parameter, why): keys of a deployer that this list gives no value on purpose."""
    foreign: bool = False
    """Whether it has the form of another project (``foreign``); nothing else checks then that its images exist."""

    def names(self, given: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """The images of the tree that it names, in order.

        :param given: values of variables that do not have their default.
        :raises UsageError: as ``filled``.
        """
        values = self.filled(given or {})
        return tuple(dict.fromkeys(entry.image for entry in self.entries if entry.image and holds(entry.when, values)))

    def filled(self, given: Mapping[str, str]) -> dict[str, str]:
        """The value of every variable: the given one, else the default; of those that every list has only what is given.

        :raises UsageError: there is no such variable, or the value is none of its closed list.
        """
        values = {variable.name: variable.default for variable in self.variables}
        for name, value in given.items():
            variable = self.variable(name)
            if variable is None and name not in BUILT_IN:
                known = (*BUILT_IN, *values)
                raise UsageError(f"the list has no variable {name!r}{nearest(name, known)}", where=self.where, next_step=f"known: {', '.join(known)}")
            if variable is not None and variable.values and value not in variable.values:
                step = f"values: {', '.join(variable.values)}"
                raise UsageError(f"{value!r} is not a value of {name}{nearest(value, variable.values)}", where=self.where, next_step=step)
        return {**values, **given}

    def variable(self, name: str) -> Variable | None:
        """A declared variable by name."""
        return next((variable for variable in self.variables if variable.name == name), None)


def holds(when: Conditions, values: Mapping[str, str]) -> bool:
    """Whether conditions are met by the values of all variables."""
    return all(values[name] in allowed for name, allowed in when)


def exclusive(one: Conditions, other: Conditions) -> bool:
    """Whether two conditions never hold together."""
    return any(name == second and not set(values) & set(others) for name, values in one for second, others in other)
