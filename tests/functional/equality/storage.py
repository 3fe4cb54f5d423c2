"""A world whose images buildah and podman pull into a storage of their own."""

from tests.functional.layers.others import Storage
from tests.functional.updater.world import WorldCase, need


class StorageCase(WorldCase):
    """Published images as other tools unpack them."""

    @classmethod
    def setUpClass(cls) -> None:
        need("buildah", "podman", "dnf")
        super().setUpClass()
        cls.storage = Storage(cls.world.path("storage"))
        cls.addClassCleanup(cls.storage.run, "buildah", "rm", "--all")
        cls.addClassCleanup(cls.storage.run, "podman", "image", "unmount", "--all")
