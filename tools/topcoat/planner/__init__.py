"""Decides per image: build, update or reuse, from fingerprints, references and what the solver says.

This room must never do input or output: registries, repositories and files were read before it is asked.
"""

from topcoat.planner.decide import Reference, plan
from topcoat.planner.document import SCHEMA, plan_from_dict, plan_to_dict

__all__ = ["SCHEMA", "Reference", "plan", "plan_from_dict", "plan_to_dict"]
