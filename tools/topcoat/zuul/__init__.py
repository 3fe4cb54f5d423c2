"""What a job of Zuul sees and what it returns: items, projects, artifacts; warnings and comments.

This room must never read a file or ask a server: it turns values into values.
"""

from topcoat.zuul.job import Artifact, Item, Project, ZuulJob, load_variables, newest_images, parse_artifacts, parse_job, read_inventory, variable
from topcoat.zuul.returned import image_artifact, join_receipts, merge_returned, returned_artifacts, returned_findings
from topcoat.zuul.selection import ProjectUnderTest, Skipped, projects_under_test

__all__ = [
    "Artifact",
    "Item",
    "Project",
    "ProjectUnderTest",
    "Skipped",
    "ZuulJob",
    "image_artifact",
    "join_receipts",
    "load_variables",
    "merge_returned",
    "newest_images",
    "parse_artifacts",
    "parse_job",
    "projects_under_test",
    "read_inventory",
    "returned_artifacts",
    "returned_findings",
    "variable",
]
