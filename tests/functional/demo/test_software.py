"""The repositories of real software: complete, under the recipes' names, and newer where the update expects it."""

import tempfile
import unittest
from pathlib import Path

import createrepo_c as cr

from tests.needs import needs
from topcoat_demo import distribution as distributions
from topcoat_demo import software


@needs("apt-get")
class Software(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.holder = tempfile.TemporaryDirectory(prefix="demo-software-")
        cls.addClassCleanup(cls.holder.cleanup)
        cls.folder = Path(cls.holder.name)
        cls.distribution = distributions.shared()
        software.make(distributions.default_cache(), cls.folder)

    @staticmethod
    def packages(folder: Path) -> list[cr.Package]:
        return list(cr.RepositoryReader.from_path(str(folder)).iter_packages())

    def test_everything_that_is_needed_is_there(self) -> None:
        packages = self.packages(self.folder / "real")
        provided = {item[0] for package in (*packages, *self.packages(self.distribution.base)) for item in package.provides}
        files = {f"{entry[1]}{entry[2]}" for package in packages for entry in package.files}
        missing = {(package.name, item[0]) for package in packages for item in package.requires if item[0] not in provided | files}
        self.assertEqual({(name, item) for name, item in missing if not item.startswith("rpmlib(")}, set())

    def test_recipes_find_the_real_ones_under_their_names(self) -> None:
        names = {package.name for package in self.packages(self.folder / "real")}
        wanted = {"memcached", "redis", "haproxy", "mariadb", "mariadb-server", "galera", "httpd", "mod_ssl", "python3-mod_wsgi", "novnc"}
        wanted |= {
            "openstack-keystone",
            "openstack-placement-api",
            "openstack-placement-common",
            "openstack-nova-common",
            "openstack-nova-novncproxy",
        }
        self.assertEqual(wanted - names, set())

    def test_the_second_state_is_the_first_and_newer_services(self) -> None:
        first, second = ({package.nevra() for package in self.packages(self.folder / name)} for name in ("real", "real-next"))
        self.assertLess(first, second)
        self.assertEqual(len(second - first), len(software.REBUILT))
        self.assertTrue(all(".1." in nevra.rpartition("-")[2] for nevra in second - first))


if __name__ == "__main__":
    unittest.main()
