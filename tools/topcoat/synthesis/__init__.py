"""The rules of an update that is composed without its image: what packages would do to a tree that is known by name, mode, owner and digest only.

This room must never read a file, and never guess: what it cannot prove it refuses, with the reason.
"""

from topcoat.synthesis.canvas import Layout
from topcoat.synthesis.compose import compose
from topcoat.synthesis.filters import Filters, read_filters
from topcoat.synthesis.listing import Listing, add_layer, merge, read_listing
from topcoat.synthesis.package import Package
from topcoat.synthesis.refusal import Refusal
from topcoat.synthesis.scripts import check_scripts
from topcoat.synthesis.sketch import draw, restore
from topcoat.synthesis.tree import Node, Tree

__all__ = [
    "Filters",
    "Layout",
    "Listing",
    "Node",
    "Package",
    "Refusal",
    "Tree",
    "add_layer",
    "check_scripts",
    "compose",
    "draw",
    "merge",
    "read_filters",
    "read_listing",
    "restore",
]
