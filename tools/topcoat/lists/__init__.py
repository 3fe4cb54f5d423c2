"""Image lists: a template of what a deployment needs becomes references, parameters and services; and the closed-world check of a whole tree.

This room must never contact a registry and never name an image that has no recipe and is not marked external.
"""

from topcoat.lists.aliases import old_names
from topcoat.lists.convert import to_document
from topcoat.lists.entries import Alias, ListEntry, ListTemplate, Variable
from topcoat.lists.lint import lint
from topcoat.lists.outputs import FORMATS, Chosen, left_to_default, missing_parameters, output
from topcoat.lists.resolve import ListedImage, ResolvedList, resolve
from topcoat.lists.template import load_template
from topcoat.lists.wanted import wanted

__all__ = [
    "FORMATS",
    "Alias",
    "Chosen",
    "ListEntry",
    "ListTemplate",
    "ListedImage",
    "ResolvedList",
    "Variable",
    "left_to_default",
    "lint",
    "load_template",
    "missing_parameters",
    "old_names",
    "output",
    "resolve",
    "to_document",
    "wanted",
]
