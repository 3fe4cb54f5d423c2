"""The words of the house as frozen value objects: what travels between rooms.

This room must never do input or output, and imports nothing but ``errors``.
"""

from topcoat.model.image import Digest, ImageReference, ImageRepository, Tag
from topcoat.model.package import Nevra, PackageChange
from topcoat.model.plan import Action, Plan, PlannedImage, Reason
from topcoat.model.profile import Base, Profile, Repository, SignaturePolicy
from topcoat.model.promotion import PromotionRequest
from topcoat.model.receipt import ImageResult, LayerSize, Receipt
from topcoat.model.recipe import Condition, CopyFile, Package, Recipe, Step
from topcoat.model.run import RunOptions, RunRequest, Shard
from topcoat.model.status import Status

__all__ = [
    "Action",
    "Base",
    "Condition",
    "CopyFile",
    "Digest",
    "ImageReference",
    "ImageRepository",
    "ImageResult",
    "LayerSize",
    "Nevra",
    "Package",
    "PackageChange",
    "Plan",
    "PlannedImage",
    "Profile",
    "PromotionRequest",
    "Reason",
    "Receipt",
    "Recipe",
    "Repository",
    "RunOptions",
    "RunRequest",
    "Shard",
    "SignaturePolicy",
    "Status",
    "Step",
    "Tag",
]
