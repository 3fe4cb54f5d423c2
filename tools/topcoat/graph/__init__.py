"""The tree of images: parents, descendants, order, critical path, and its pictures as text, JSON and DOT.

This room must never do input or output.
"""

from topcoat.graph.graph import ImageGraph

__all__ = ["ImageGraph"]
