"""A work folder without room left: whatever rpm says then, the machine is at fault and not the change."""

import os
import subprocess

from tests.functional.updater.test_promises import LIB, LIB2
from tests.functional.updater.world import WorldCase
from topcoat.errors import InfrastructureError
from topcoat.layers import LayerStore
from topcoat_demo.rpms import File


class Full(WorldCase):
    def test_an_update_without_room_is_infrastructure(self) -> None:
        base = self.world.base("isolation/full", [LIB])
        big = self.world.path("big")
        big.write_bytes(os.urandom(16 << 20))
        place = self.world.path("small")
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", place], check=True)
        self.addCleanup(subprocess.run, ["umount", place], check=True)
        for spec in (
            LIB2.bump(files=(*LIB2.files, File("/usr/lib/big", big))),
            LIB2.bump(post="busybox dd if=/dev/zero of=/usr/big bs=1M count=64 && echo done"),
        ):
            with LayerStore(place / spec.nevra) as store, self.assertRaises(InfrastructureError) as caught:
                self.world.update(base, self.world.repository("current", [spec]), store=store)
            self.assertIn("the disk is full", str(caught.exception))
            self.assertFalse(caught.exception.retriable)
