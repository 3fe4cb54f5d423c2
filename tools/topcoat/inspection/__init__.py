"""What is inside images of a registry: their files, the contract they promise, their sizes, and who signed what is installed.

This room must never keep a layer, which is read as a stream, once; and never start a program of an image unless it was asked to.
"""

from topcoat.inspection.contract import Problem, check
from topcoat.inspection.files import FileTree, LayerListing, merge, read_layer
from topcoat.inspection.sizes import SizeReport, measure

__all__ = ["FileTree", "LayerListing", "Problem", "SizeReport", "check", "measure", "merge", "read_layer"]
