"""Registry clean-up: what open buildsets and promoted sets need stays, the rest goes by age.

This room must never delete without being told to, and never trust a date inside an image.
"""

from topcoat.garbage.collector import Collected, Collector
from topcoat.garbage.rules import KeepRules, RepositoryPlan, RepositoryState, decide

__all__ = ["Collected", "Collector", "KeepRules", "RepositoryPlan", "RepositoryState", "decide"]
