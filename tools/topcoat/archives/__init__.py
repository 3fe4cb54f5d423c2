"""Layers as other tools write them, read as a stream: whatever compression, whatever kind of tar.

This room must never trust a length, a number or a name before it is checked, and never write anything.
"""
