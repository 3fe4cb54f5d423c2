"""A closed Jinja sandbox for data that was written for Ansible: strict about the undefined, without files, lookups or side effects.

This module must never load a template by name, never reach Python's internals, and never let an expression grow without a bound.
"""

from __future__ import annotations

import json
import operator
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import jinja2.meta
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEMPLATE = 64 << 10
MAX_RESULT = 1 << 20
_MAX_RANGE = 200
_MAX_ASSIGNMENTS = 8
_MAX_LOOPS = 3

# Everything here returns something no larger than what it was given.
_FILTERS = frozenset(
    ("abs", "batch", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "join", "last", "length")
    + ("list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "slice", "sort")
    + ("string", "sum", "title", "tojson", "trim", "unique", "upper")
)
_METHODS = {
    str: frozenset(
        (
            "split",
            "rsplit",
            "splitlines",
            "lower",
            "upper",
            "strip",
            "lstrip",
            "rstrip",
            "startswith",
            "endswith",
            "replace",
            "title",
            "count",
            "find",
        )
    ),
    dict: frozenset(("items", "keys", "values", "get")),
    list: frozenset(("index", "count")),
    tuple: frozenset(("index", "count")),
}
_REFUSED = (nodes.Macro, nodes.CallBlock, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block, nodes.FilterBlock)


class TemplateError(Exception):
    """What is wrong with a template, in one sentence."""


class _Missing(jinja2.ChainableUndefined, jinja2.StrictUndefined):
    """Undefined values may be looked into, so that ``a.b | default(c)`` works as in Ansible, but any other use is an error."""

    __slots__ = ()


class _Assumed(jinja2.Undefined):
    """Undefined for ``default`` and ``defined``, but printed it is a text."""

    __slots__ = ()

    def __str__(self) -> str:
        return self._undefined_hint or ""


class _Environment(ImmutableSandboxedEnvironment):
    """Only plain data types can be looked into, and operators cannot blow up."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Methods from a closed list; nothing else of any object."""
        if isinstance(obj, jinja2.Undefined):
            return not attr.startswith("_")
        allowed = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), None)
        if callable(value):
            return allowed is not None and attr in allowed
        return allowed is not None and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """Numbers only, and small ones: repeating a text or formatting it could fill the memory."""
        for value in (left, right):
            if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 10**6:
                raise SecurityError(f"the operator {operator} is only for small numbers")
        if operator == "**" and abs(right) > 16:
            raise SecurityError("the exponent is too large")
        return super().call_binop(context, operator, left, right)


def _range(*arguments: int) -> range:
    found = range(*arguments)
    if len(found) > _MAX_RANGE:
        raise SecurityError(f"a range has at most {_MAX_RANGE} values")
    return found


def _ternary(value: object, yes: object, no: object, none: object = None) -> object:
    return none if value is None and none is not None else yes if value else no


def _bool(value: object) -> bool:
    return str(value).strip().lower() in ("yes", "on", "1", "true", "y", "t")


def _combine(*mappings: Mapping[str, object]) -> dict[str, object]:
    return {key: value for mapping in mappings for key, value in mapping.items()}


def _distinct(*lists: list[object]) -> list[object]:
    found: list[object] = []
    for value in (value for one in lists for value in one):
        if value not in found:
            found.append(value)
    return found


def _flatten(value: object) -> list[object]:
    return [item for one in value for item in _flatten(one)] if isinstance(value, list | tuple) else [value]


_ANSIBLE_FILTERS: dict[str, Callable[..., object]] = {
    "bool": _bool,
    "ternary": _ternary,
    "combine": _combine,
    "union": _distinct,
    "difference": lambda one, other: [value for value in _distinct(one) if value not in other],
    "intersect": lambda one, other: [value for value in _distinct(one) if value in other],
    "flatten": _flatten,
    "quote": lambda value: shlex.quote(str(value)),
    "to_json": json.dumps,
    "mandatory": lambda value: value,
    "dict2items": lambda value: [{"key": key, "value": item} for key, item in value.items()],
}


_VERSION_PART = re.compile(r"\d+|[a-z]+")
_COMPARISONS: dict[str, Callable[[Any, Any], object]] = {
    **dict.fromkeys(("==", "=", "eq"), operator.eq),
    **dict.fromkeys(("!=", "<>", "ne"), operator.ne),
    **dict.fromkeys(("<", "lt"), operator.lt),
    **dict.fromkeys(("<=", "le"), operator.le),
    **dict.fromkeys((">", "gt"), operator.gt),
    **dict.fromkeys((">=", "ge"), operator.ge),
}


def _version(value: object, other: object, comparison: str = "eq") -> bool:
    """Ansible's ``version`` test as it is without options: numbers and words of a version, compared one by one."""
    if comparison not in _COMPARISONS:
        raise TemplateError(f"compares versions by {comparison!r}; known: {', '.join(_COMPARISONS)}")
    parts = [[int(part) if part.isdigit() else part for part in _VERSION_PART.findall(str(one))] for one in (value, other)]
    if not all(parts):
        raise TemplateError(f"compares {value!r} with {other!r}, which are not both versions")
    return bool(_COMPARISONS[comparison](*parts))


_ANSIBLE_TESTS: dict[str, Callable[..., bool]] = {
    "version": _version,
    "version_compare": _version,
    "contains": lambda whole, part: part in whole,
    "subset": lambda part, whole: all(value in whole for value in part),
    "superset": lambda whole, part: all(value in whole for value in part),
    "any": lambda values: any(values),
    "all": lambda values: all(values),
    "truthy": bool,
    "falsy": lambda value: not value,
}


class Templates:
    """Compiles each distinct text once; one object serves a whole tree."""

    def __init__(self) -> None:
        environment = _Environment(undefined=_Missing, trim_blocks=True, keep_trailing_newline=True, autoescape=False, loader=None)
        environment.filters = {name: environment.filters[name] for name in _FILTERS if name in environment.filters} | _ANSIBLE_FILTERS
        environment.tests |= _ANSIBLE_TESTS
        environment.globals = {"range": _range, "true": True, "false": False, "none": None}
        self._environment = environment
        self._compiled: dict[str, tuple[frozenset[str], Callable[[dict[str, object]], object]]] = {}

    def render(self, text: str, value_of: Callable[[str], object]) -> object:
        """The value of a template.

        :param value_of: value of a variable by name, or a ``missing`` object.
        :returns: text; where the whole template is one ``{{ expression }}``, a list or mapping stays what it is, as in Ansible.
        :raises TemplateError: syntax, undefined, forbidden or oversized.
        """
        try:
            if text not in self._compiled:
                self._compiled[text] = self._compile(text)
            names, evaluate = self._compiled[text]
            result = evaluate({name: value_of(name) for name in names})
        except TemplateError:
            raise
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"is not a valid template: {error.message}") from error
        except jinja2.UndefinedError as error:
            raise TemplateError(f"uses something undefined: {error.message}") from error
        except SecurityError as error:
            raise TemplateError(f"does what templates may not do: {error.message}") from error
        except RecursionError as error:
            raise TemplateError("is nested too deeply") from error
        except Exception as error:
            # An expression over foreign data can raise anything; it is still the template's fault.
            raise TemplateError(f"cannot be rendered: {type(error).__name__}: {error}".splitlines()[0]) from error
        if isinstance(result, str) and len(result) > MAX_RESULT:
            raise TemplateError(f"becomes larger than {MAX_RESULT} characters")
        return result

    def missing(self, reason: str) -> object:
        """A value that raises with this reason as soon as it is used."""
        return _Missing(hint=reason)

    def assumed(self, text: str) -> object:
        """What nobody defined but everybody means: a template that brings its own default gets that, any other gets this text."""
        return _Assumed(hint=text)

    def _compile(self, text: str) -> tuple[frozenset[str], Callable[[dict[str, object]], object]]:
        if len(text) > MAX_TEMPLATE:
            raise TemplateError(f"is larger than {MAX_TEMPLATE} characters")
        tree = self._environment.parse(text)
        for node in tree.find_all(_REFUSED):
            raise TemplateError(f"uses {type(node).__name__.lower()}, which data has no use for")
        if sum(1 for _ in tree.find_all((nodes.Assign, nodes.AssignBlock))) > _MAX_ASSIGNMENTS or _loop_depth(tree) > _MAX_LOOPS:
            raise TemplateError("is a program, not data: too many assignments or nested loops")
        names = frozenset(jinja2.meta.find_undeclared_variables(tree)) - set(self._environment.globals)
        body = tree.body
        if (
            len(body) == 1
            and isinstance(body[0], nodes.Output)
            and len(body[0].nodes) == 1
            and text.startswith("{{")
            and text.rstrip().endswith("}}")
        ):
            expression = self._environment.compile_expression(text.strip()[2:-2].strip("-+ \n"), undefined_to_none=False)
            return names, lambda values: _plain(expression(values))
        template = self._environment.from_string(text)
        return names, template.render


def _loop_depth(node: nodes.Node) -> int:
    deepest = max((_loop_depth(child) for child in node.iter_child_nodes()), default=0)
    return deepest + (1 if isinstance(node, nodes.For) else 0)


def _plain(value: object) -> object:
    """A list, tuple or mapping as it is, anything else as text (which raises for an undefined value)."""
    if isinstance(value, list | tuple):
        return list(value)
    return value if isinstance(value, dict) else str(value)
