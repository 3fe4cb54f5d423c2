"""The registry as OCI distribution 1.1 defines it: names go in, proved bytes come out.

This room must never build or judge an image, and never store anything outside a registry.
"""

from topcoat.registry.auth import Credentials, Login
from topcoat.registry.client import RegistryClient
from topcoat.registry.errors import AccessError, BrokenConnectionError, DeadlineError, DigestMismatchError, NotFoundError, PlatformError, RefusedError
from topcoat.registry.limits import Limits, Traffic
from topcoat.registry.oci import Descriptor, Image, Manifest, append_layer, digest_of, image_manifest, with_labels
from topcoat.registry.referrers import INVENTORY_TYPE
from topcoat.registry.registries import Registries

__all__ = [
    "INVENTORY_TYPE",
    "AccessError",
    "BrokenConnectionError",
    "Credentials",
    "DeadlineError",
    "Descriptor",
    "DigestMismatchError",
    "Image",
    "Limits",
    "Login",
    "Manifest",
    "NotFoundError",
    "PlatformError",
    "RefusedError",
    "Registries",
    "RegistryClient",
    "Traffic",
    "append_layer",
    "digest_of",
    "image_manifest",
    "with_labels",
]
