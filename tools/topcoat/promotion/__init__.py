"""Promotion: a floating tag moves for a whole set of images, or for none; and what the registry shows is the only state.

This room must never pull or push a layer of a promoted image.
"""

from topcoat.promotion.control import Control
from topcoat.promotion.history import Entry, History, Hold
from topcoat.promotion.promoter import HalfMovedError, Promoted, Promoter, Request
from topcoat.promotion.sets import ImageSet, SetRecord, check_receipt
from topcoat.promotion.target import Place, Target

__all__ = [
    "Control",
    "Entry",
    "HalfMovedError",
    "History",
    "Hold",
    "ImageSet",
    "Place",
    "Promoted",
    "Promoter",
    "Request",
    "SetRecord",
    "Target",
    "check_receipt",
]
