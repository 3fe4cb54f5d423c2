"""A closed Jinja sandbox for data that was written for Ansible: strict about the undefined, without files, lookups or side effects.

This module must never load a template by name, never reach Python's internals, and never let an expression grow without a bound.
"""

from __future__ import annotations

import json
import operator
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2
import jinja2.meta
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_TEMPLATE = 64 << 10
MAX_RESULT = 1 << 20
_TOO_LARGE = f"becomes larger than {MAX_RESULT} characters"
_MAX_RANGE = 200
_MAX_INDENT = 16
_MAX_ASSIGNMENTS = 8
_MAX_LOOPS = 3

# Each returns something no larger than what it was given; those that could are in ``_BOUNDED``.
_FILTERS = frozenset(
    ("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "last", "length", "list", "lower")
    + ("map", "max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr", "sort", "string", "sum", "title", "trim")
    + ("unique", "upper")
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

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def _generate(self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False) -> str:
        return super()._generate(_Joining().visit(source), name, filename, defer_init)

    def call(self, context: jinja2.runtime.Context, obj: Any, *args: Any, **options: Any) -> Any:
        """A method that could make a text large is bounded as the filter of its name."""
        own = getattr(obj, "__self__", None)
        if isinstance(own, str) and obj.__name__ == "replace":
            return _replace(own, *args, **options)
        return super().call(context, obj, *args, **options)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Methods from a closed list; nothing else of any object."""
        if isinstance(obj, jinja2.Undefined):
            return not attr.startswith("_")
        allowed = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), None)
        if callable(value):
            return allowed is not None and attr in allowed
        return allowed is not None and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """Numbers only, and small ones: repeating a text or formatting it could fill the memory. Texts and lists are added while that is not much."""
        if operator == "+":
            if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
                _fits(len(left) + len(right))
            return super().call_binop(context, operator, left, right)
        for value in (left, right):
            if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 10**6:
                raise SecurityError(f"the operator {operator} is only for small numbers")
        if operator == "**" and abs(right) > 16:
            raise SecurityError("the exponent is too large")
        return super().call_binop(context, operator, left, right)


class _Joining(NodeTransformer):
    """``a ~ b`` becomes a ``join``, which is bounded."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        parts = nodes.List([self.visit(part) for part in node.nodes], lineno=node.lineno)
        return nodes.Filter(parts, "join", [], [], None, None, lineno=node.lineno, environment=node.environment)


def _fits(size: int) -> None:
    if size > MAX_RESULT:
        raise SecurityError(f"a value is not larger than {MAX_RESULT} characters or entries")


def _range(*arguments: int) -> range:
    found = range(*arguments)
    if len(found) > _MAX_RANGE:
        raise SecurityError(f"a range has at most {_MAX_RANGE} values")
    return found


def _replace(text: object, old: object, new: object, count: int | None = None) -> str:
    text, old, new = str(text), str(old), str(new)
    _fits(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


@jinja2.pass_eval_context
def _join(context: nodes.EvalContext, values: Any, separator: object = "", attribute: str | int | None = None) -> object:
    values = list(values)
    _fits(len(FILTERS["join"](context, values, "", attribute)) + len(values) * len(str(separator)))
    return FILTERS["join"](context, values, str(separator), attribute)


def _batch(values: Any, size: int, fill: object = None) -> object:
    _fits(size)
    return FILTERS["batch"](values, size, fill)


@jinja2.pass_eval_context
def _slice(context: nodes.EvalContext, values: Any, count: int, fill: object = None) -> object:
    _fits(count)
    return FILTERS["slice"](context, values, count, fill)


def _json(value: object, indent: int | None = None, *, sort_keys: bool = False, ensure_ascii: bool = True) -> str:
    if indent is not None and not 0 <= indent <= _MAX_INDENT:
        raise SecurityError(f"JSON is indented by at most {_MAX_INDENT}")
    return json.dumps(value, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii)


@jinja2.pass_eval_context
def _tojson(context: nodes.EvalContext, value: object, indent: int | None = None) -> object:
    _json(None, indent)
    return FILTERS["tojson"](context, value, indent)


_BOUNDED: dict[str, Callable[..., object]] = {"batch": _batch, "join": _join, "replace": _replace, "slice": _slice, "tojson": _tojson}


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
    "to_json": _json,
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
        environment.filters = {name: environment.filters[name] for name in _FILTERS if name in environment.filters} | _BOUNDED | _ANSIBLE_FILTERS
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
            raise TemplateError(_TOO_LARGE)
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
        return names, lambda values: _whole(template.generate(values))


def _whole(pieces: Iterable[str]) -> str:
    """What a template prints; loops that would print more than a result may be are left."""
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size > MAX_RESULT:
            raise TemplateError(_TOO_LARGE)
    return "".join(found)


def _loop_depth(node: nodes.Node) -> int:
    deepest = max((_loop_depth(child) for child in node.iter_child_nodes()), default=0)
    return deepest + (1 if isinstance(node, nodes.For) else 0)


def _plain(value: object) -> object:
    """A list, tuple or mapping as it is, anything else as text (which raises for an undefined value)."""
    if isinstance(value, list | tuple):
        return list(value)
    return value if isinstance(value, dict) else str(value)
