"""What is inside images of a registry: the merged list of their files, the contract they promise, and their sizes.

This room must never pull an image into a store and never start one: layers are read as streams, each once.
"""

from topcoat.inspection.contract import Problem, check
from topcoat.inspection.files import FileTree, LayerListing, merge, read_layer
from topcoat.inspection.sizes import SizeReport, measure

__all__ = ["FileTree", "LayerListing", "Problem", "SizeReport", "check", "measure", "merge", "read_layer"]
