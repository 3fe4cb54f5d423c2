"""The tree of images as people and programs read it: text, JSON and DOT, always in the same order.

This module must never do input or output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from topcoat.errors import UsageError
from topcoat.model import Recipe, ancestry
from topcoat.model.status import OF_TASKS

_COLOURS = dict.fromkeys(OF_TASKS, "lightgrey") | {
    "done": "palegreen",
    "build": "lightskyblue",
    "update": "gold",
    "reuse": "palegreen",
    "failed": "tomato",
}


class ImageGraph:
    """A set of recipes, parents first, subtrees together, siblings by name: equal input in any order gives equal answers."""

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        """:raises UsageError: a parent is missing or the parents form a cycle (a loaded tree never has these)."""
        for name, recipe in recipes.items():
            if recipe.parent is not None and recipe.parent not in recipes:
                raise UsageError(f"unknown parent {recipe.parent!r}", image=name, where=recipe.where, next_step="select it too, or skip this image")
        for circle in ancestry.circles(recipes):
            raise UsageError(f"parents form a cycle: {', '.join(circle[:5])}", image=circle[0], next_step="change one 'from'")
        self._recipes = recipes
        self._standing = ancestry.children(dict(sorted(recipes.items())))
        self._depths = ancestry.depths(recipes)
        self.order = tuple(name for root in self._standing.get(None, ()) for name in ancestry.below(root, self._standing))

    def to_text(self) -> str:
        """One image a line, indented under its parent."""
        return "\n".join("  " * self._depths[name] + name for name in self.order)

    def to_data(self) -> dict[str, object]:
        """``{"order": [...], "images": {name: {"parent", "children", "family", "class", "depth"}}}``."""
        images = {
            name: {
                "parent": self._recipes[name].parent,
                "children": list(self._standing.get(name, ())),
                "family": self._recipes[name].family,
                "class": self._recipes[name].image_class,
                "depth": self._depths[name],
            }
            for name in self.order
        }
        return {"order": list(self.order), "images": images}

    def to_json(self) -> str:
        """``to_data`` as JSON text."""
        return json.dumps(self.to_data(), indent=2)

    def to_dot(self, status: Mapping[str, str] | None = None) -> str:
        """Graphviz DOT (https://graphviz.org/doc/info/lang.html).

        :param status: image to a word (an action, or the status of a result); decides the colour.
        """
        lines = ["digraph images {", "  rankdir=LR;", '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif"];']
        for name in self.order:
            word = (status or {}).get(name)
            extra = f' [fillcolor={_COLOURS.get(word, "white")}, tooltip="{word}"]' if word else ""
            lines.append(f'  "{name}"{extra};')
        lines += [f'  "{self._recipes[name].parent}" -> "{name}";' for name in self.order if self._recipes[name].parent is not None]
        return "\n".join([*lines, "}"])
