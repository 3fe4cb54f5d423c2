"""Static Containerfiles in git, for build systems that read nothing else.

This room must never commit when nothing changed, and never write what depends on the machine or the day.
"""

from topcoat.distgit.export import Options, container_yaml, image_labels, order_of, write_image
from topcoat.distgit.git import Commit, Git, source_commit

__all__ = ["Commit", "Git", "Options", "container_yaml", "image_labels", "order_of", "source_commit", "write_image"]
