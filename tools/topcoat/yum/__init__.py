"""The yum repositories of a run: fetched and verified, frozen in one view, kept, served, locked, and what they publish about packages.

This room must never say which of the packages an image shall have; ``topcoat.solver`` does.
"""
