"""Trunk hashes, the repository trees that carry them, and the DLRN API that votes on and promotes them.

This room must never touch images or registries.
"""

from topcoat.trunk.dlrn import DlrnApi, DlrnPromotion, Vote
from topcoat.trunk.hashes import TrunkHash, from_commit_yaml, from_repo_file
from topcoat.trunk.tree import Trunk, read_trunk

__all__ = ["DlrnApi", "DlrnPromotion", "Trunk", "TrunkHash", "Vote", "from_commit_yaml", "from_repo_file", "read_trunk"]
