"""Decides per image: build, update or reuse, from fingerprints, references and what the solver says.

This room must never do input or output: registries, repositories and files were read before it is asked.
"""

from topcoat.planner.decide import Reference, plan

__all__ = ["Reference", "plan"]
