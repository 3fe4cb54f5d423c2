"""Static Containerfiles in git, for build systems that read nothing else.

This room must never commit when nothing changed, and never write what depends on the machine or the day.
"""

from topcoat.distgit.export import ExportOptions, container_yaml, image_labels, order_of, write_image
from topcoat.distgit.git import Commit, ExportRepository, source_commit
from topcoat.distgit.layouts import Exported, export_tree

__all__ = [
    "Commit",
    "ExportOptions",
    "ExportRepository",
    "Exported",
    "container_yaml",
    "export_tree",
    "image_labels",
    "order_of",
    "source_commit",
    "write_image",
]
