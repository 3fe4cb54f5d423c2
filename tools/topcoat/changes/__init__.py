"""How two sets of images differ, folded to one row a source package; and where the words of a changelog lead.

This room must never read anything: it compares what it is given.
"""

from topcoat.changes.compare import ImageFacts, Move, Row, SetChanges, compare
from topcoat.changes.links import parts_of

__all__ = ["ImageFacts", "Move", "Row", "SetChanges", "compare", "parts_of"]
