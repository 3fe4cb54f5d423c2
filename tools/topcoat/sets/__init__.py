"""Sets of images as people name them, read from the registry: what they hold, how two differ, where something is.

This room must never pull a layer unless it was asked to, and never change anything.
"""

from topcoat.sets.named import NamedSet, find
from topcoat.sets.reading import SetReader

__all__ = ["NamedSet", "SetReader", "find"]
