"""One guard for every document that comes from outside: JSON and YAML become plain values of known kinds, or one line that says why not.

This room must never believe a size, a depth or a kind, and never take longer than in proportion to what came.

A door is where such documents come in (a registry, a file that is read back, a variable of a job). It names the error's class and what its reader
does next; everything else is the same for all: how large, how deep, what a value may be.
"""

from topcoat.documents.door import Door
from topcoat.documents.shape import Shape

__all__ = ["Door", "Shape"]
