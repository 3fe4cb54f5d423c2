"""Images of others, found in lists and namespaces, and written down as a tree without recipes.

This room must never pull an image, and never leave one out in silence.
"""

from topcoat.adoption.found import FoundImage, in_namespace, in_references, read_list
from topcoat.adoption.names import Adopted, name_images
from topcoat.adoption.tree import write_tree

__all__ = ["Adopted", "FoundImage", "in_namespace", "in_references", "name_images", "read_list", "write_tree"]
