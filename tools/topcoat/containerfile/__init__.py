"""A recipe as a Containerfile with its context, and its fingerprint.

This room must never read anything but the files that a recipe copies, and never write outside the directory it is given.
"""

from topcoat.containerfile.context import write_context
from topcoat.containerfile.fingerprint import Fingerprint, fingerprint, fingerprints
from topcoat.containerfile.labels import image_labels
from topcoat.containerfile.render import base_reference, render, render_tree
from topcoat.containerfile.rendered import Rendered

__all__ = ["Fingerprint", "Rendered", "base_reference", "fingerprint", "fingerprints", "image_labels", "render", "render_tree", "write_context"]
