"""Layers as files: unpack them, stack them, and write a new one from what was changed.

This room must never decide what goes into an image.
"""

from topcoat.layers.built_image import BuiltImage, note_stage
from topcoat.layers.compression import Compression
from topcoat.layers.lower import LowerView
from topcoat.layers.store import LayerStore, Workspace
from topcoat.layers.writer import Layer, litter, write_layers

__all__ = ["BuiltImage", "Compression", "Layer", "LayerStore", "LowerView", "Workspace", "litter", "note_stage", "write_layers"]
