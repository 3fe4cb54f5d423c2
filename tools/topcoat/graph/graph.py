"""One immutable view of which image starts from which.

This module must never do input or output; it works on anything that has ``parent``, ``family`` and ``image_class``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from topcoat.errors import UsageError
from topcoat.model.recipe import Recipe

_COLOURS = {
    "done": "palegreen",
    "build": "lightskyblue",
    "update": "gold",
    "reuse": "palegreen",
    "failed": "tomato",
    "skipped": "lightgrey",
    "cancelled": "lightgrey",
}


class ImageGraph:
    """Parents, children and orders of a set of recipes. Deterministic: equal input in any order gives equal answers."""

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        """:raises UsageError: a parent is missing or the parents form a cycle (a loaded tree never has these)."""
        self._recipes = recipes
        self._chains: dict[str, tuple[str, ...]] = {}
        children: dict[str, list[str]] = {name: [] for name in recipes}
        for name, recipe in recipes.items():
            if recipe.parent is not None:
                if recipe.parent not in recipes:
                    raise UsageError(
                        f"unknown parent {recipe.parent!r}", image=name, where=recipe.where, next_step="select it too, or skip this image"
                    )
                children[recipe.parent].append(name)
        self._children = {name: tuple(sorted(found)) for name, found in children.items()}
        self._order: list[str] = []
        waiting = sorted((name for name, recipe in recipes.items() if recipe.parent is None), reverse=True)
        while waiting:
            name = waiting.pop()
            parent = recipes[name].parent
            self._chains[name] = (*self._chains[parent], parent) if parent is not None else ()
            self._order.append(name)
            waiting.extend(reversed(self._children[name]))
        if len(self._order) != len(recipes):
            stuck = sorted(set(recipes) - set(self._order))
            raise UsageError(f"parents form a cycle: {', '.join(stuck[:5])}", image=stuck[0], next_step="change one 'from'")

    def order(self) -> tuple[str, ...]:
        """Every image, parents first, subtrees together, siblings by name."""
        return tuple(self._order)

    def roots(self) -> tuple[str, ...]:
        """Images that start from the profile's base image."""
        return tuple(name for name in self._order if not self._chains[name])

    def leaves(self) -> tuple[str, ...]:
        """Images that no other image starts from."""
        return tuple(name for name in self._order if not self._children[name])

    def parents(self, name: str) -> tuple[str, ...]:
        """The image it starts from, as a tuple of none or one."""
        return self._chains[name][-1:]

    def children(self, name: str) -> tuple[str, ...]:
        """Images that start from it, by name."""
        return self._children[name]

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Everything it starts from, root first."""
        return self._chains[name]

    def descendants(self, name: str) -> tuple[str, ...]:
        """Everything that starts from it, parents first."""
        found: list[str] = []
        waiting = list(reversed(self._children[name]))
        while waiting:
            current = waiting.pop()
            found.append(current)
            waiting.extend(reversed(self._children[current]))
        return tuple(found)

    def remaining(self, weights: Mapping[str, float], *, default: float = 1.0) -> dict[str, float]:
        """Per image the weight of the longest chain that starts with it: what a scheduler sorts by. Weights in any one unit."""
        longest: dict[str, float] = {}
        for name in reversed(self._order):
            longest[name] = weights.get(name, default) + max((longest[child] for child in self._children[name]), default=0.0)
        return longest

    def critical_path(self, weights: Mapping[str, float], *, default: float = 1.0) -> tuple[str, ...]:
        """The heaviest chain from a root to a leaf; the first by name of equal ones."""
        longest = self.remaining(weights, default=default)
        path: list[str] = []
        choices = self.roots()
        while choices:
            name = min(choices, key=lambda choice: (-longest[choice], choice))
            path.append(name)
            choices = self._children[name]
        return tuple(path)

    def to_text(self) -> str:
        """One image a line, indented under its parent."""
        return "\n".join("  " * len(self._chains[name]) + name for name in self._order)

    def to_data(self) -> dict[str, object]:
        """``{"order": [...], "images": {name: {"parent", "children", "family", "class", "depth"}}}``."""
        images = {
            name: {
                "parent": self._recipes[name].parent,
                "children": list(self._children[name]),
                "family": self._recipes[name].family,
                "class": self._recipes[name].image_class,
                "depth": len(self._chains[name]),
            }
            for name in self._order
        }
        return {"order": list(self._order), "images": images}

    def to_json(self) -> str:
        """``to_data`` as JSON text."""
        return json.dumps(self.to_data(), indent=2)

    def to_dot(self, status: Mapping[str, str] | None = None) -> str:
        """Graphviz DOT (https://graphviz.org/doc/info/lang.html).

        :param status: image to a word (an action, or the status of a result); decides the colour.
        """
        lines = ["digraph images {", "  rankdir=LR;", '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif"];']
        for name in self._order:
            word = (status or {}).get(name)
            extra = f' [fillcolor={_COLOURS.get(word, "white")}, tooltip="{word}"]' if word else ""
            lines.append(f'  "{name}"{extra};')
        lines += [f'  "{self._recipes[name].parent}" -> "{name}";' for name in self._order if self._recipes[name].parent is not None]
        return "\n".join([*lines, "}"])
