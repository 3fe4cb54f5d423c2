"""A recipe as a Containerfile with its context, and its fingerprint.

This room must never read anything but the files that a recipe copies, and never write outside the directory it is given.
"""

from topcoat.containerfile.context import write_context
from topcoat.containerfile.fingerprint import Fingerprint, fingerprint, fingerprints
from topcoat.containerfile.labels import image_labels
from topcoat.containerfile.render import Rendered, render

__all__ = ["Fingerprint", "Rendered", "fingerprint", "fingerprints", "image_labels", "render", "write_context"]
