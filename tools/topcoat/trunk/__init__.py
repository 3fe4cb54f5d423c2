"""Trunk hashes, the repository trees that carry them, and DLRN: the votes of jobs on them, what these must say, and who is told of a promotion.

This room must never touch images or registries.
"""

from topcoat.trunk.criteria import Criteria, JobState, TooOld, Verdict, judge, load_criteria
from topcoat.trunk.dlrn import DlrnApi, DlrnPromotion, Vote
from topcoat.trunk.hashes import TrunkHash, from_commit_yaml, from_repo_file
from topcoat.trunk.tree import Trunk, read_trunk

__all__ = [
    "Criteria",
    "DlrnApi",
    "DlrnPromotion",
    "JobState",
    "TooOld",
    "Trunk",
    "TrunkHash",
    "Verdict",
    "Vote",
    "from_commit_yaml",
    "from_repo_file",
    "judge",
    "load_criteria",
    "read_trunk",
]
