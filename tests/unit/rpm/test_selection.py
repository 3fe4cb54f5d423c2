"""Package specifications, module documents, names in dependencies, file URLs: the parts that need no repository."""

from __future__ import annotations

import unittest

from topcoat.errors import UsageError
from topcoat.model import Nevra
from topcoat.rpm import modules
from topcoat.rpm.evr import Order
from topcoat.rpm.modules import Stream, Streams
from topcoat.rpm.offer import meets
from topcoat.rpm.relevance import names_in
from topcoat.rpm.selection import spec_filter
from topcoat.rpm.solver import check_arch
from topcoat.rpm.transport import join, local_path

PACKAGES = [
    Nevra.parse(text)
    for text in (
        "nova-1:28.0-1.el9.noarch",
        "nova-1:29.0-1.el9.noarch",
        "nova-api-1:28.0-1.el9.noarch",
        "python3-oslo.config-9.0-1.el9.noarch",
        "glibc-2.34-1.el9.x86_64",
        "glibc-2.34-1.el9.i686",
    )
]


class Specifications(unittest.TestCase):
    def matched(self, spec: str) -> list[str]:
        accepts = spec_filter(spec, set(PACKAGES))
        return [str(nevra) for nevra in PACKAGES if accepts(nevra)]

    def test_readings(self) -> None:
        cases = {
            "nova": ["nova-1:28.0-1.el9.noarch", "nova-1:29.0-1.el9.noarch"],
            "nova*": ["nova-1:28.0-1.el9.noarch", "nova-1:29.0-1.el9.noarch", "nova-api-1:28.0-1.el9.noarch"],
            "nova-28.0": ["nova-1:28.0-1.el9.noarch"],
            "nova-1:28.0-1.el9": ["nova-1:28.0-1.el9.noarch"],
            "nova-0:28.0-1.el9": [],
            "nova-28.0-1.el9.noarch": ["nova-1:28.0-1.el9.noarch"],
            "nova-2?.0": ["nova-1:28.0-1.el9.noarch", "nova-1:29.0-1.el9.noarch"],
            "python3-oslo.config": ["python3-oslo.config-9.0-1.el9.noarch"],
            "glibc.i686": ["glibc-2.34-1.el9.i686"],
            "glibc.*": ["glibc-2.34-1.el9.x86_64", "glibc-2.34-1.el9.i686"],
            "gl[a-i]bc.x*": ["glibc-2.34-1.el9.x86_64"],
            "NOVA": [],
            "absent": [],
            "": [],
        }
        for spec, expected in cases.items():
            with self.subTest(spec):
                self.assertEqual(self.matched(spec), expected)


class Meets(unittest.TestCase):
    def test_table(self) -> None:
        order = Order()
        package = Nevra.parse("nova-1:28.0-2.el9.noarch")
        cases = {
            "nova": True,
            "nova < 29": False,
            "nova < 1:29": True,
            "nova = 1:28.0": True,
            "nova = 1:28.0-1.el9": False,
            "nova <= 1:28.0-2.el9": True,
            "nova >= 1:28.0-3.el9": False,
            "nova > 1:27": True,
            "nova > 1:28.0": False,
        }
        for dependency, expected in cases.items():
            with self.subTest(dependency):
                self.assertEqual(meets(order, package, dependency), expected)


class Names(unittest.TestCase):
    def test_table(self) -> None:
        cases = {
            "nova": ["nova"],
            "nova >= 1:28": ["nova"],
            "/usr/bin/python3": ["/usr/bin/python3"],
            "libc.so.6(GLIBC_2.34)(64bit)": ["libc.so.6(GLIBC_2.34)(64bit)"],
            "(glue if oslo)": ["glue", "oslo"],
            "((python3dist(a) >= 1 with python3dist(a) < 2) or c)": ["python3dist(a)", "1", "python3dist(a)", "2", "c"],
            "(libx.so()(64bit) or liby.so()(64bit))": ["libx.so()(64bit)", "liby.so()(64bit)"],
        }
        for dependency, expected in cases.items():
            with self.subTest(dependency):
                self.assertEqual(names_in(dependency), expected)


def stream(name: str, number: str, version: int = 1, **requires: tuple[str, ...]) -> Stream:
    return Stream(name, number, version, frozenset(), tuple(requires.items()))


class Modules(unittest.TestCase):
    def active(self, *builds: Stream, defaults: dict[str, str] | None = None, enabled: tuple[str, ...] = ()) -> list[str]:
        found = modules.active(Streams(builds, tuple((defaults or {}).items())), enabled)
        return [f"{build.name}:{build.stream}:{build.version}" for build in found]

    def test_active(self) -> None:
        both = (stream("nodejs", "16"), stream("nodejs", "18"))
        self.assertEqual(self.active(*both), [])
        self.assertEqual(self.active(*both, defaults={"nodejs": "16"}), ["nodejs:16:1"])
        self.assertEqual(self.active(*both, defaults={"nodejs": "16"}, enabled=("nodejs:18",)), ["nodejs:18:1"])

    def test_newest_version_of_the_stream(self) -> None:
        self.assertEqual(self.active(stream("a", "1", 9), stream("a", "1", 10), defaults={"a": "1"}), ["a:1:10"])

    def test_needs(self) -> None:
        builds = (stream("a", "1", b=("2",)), stream("b", "1"), stream("b", "2", c=()), stream("c", "1"))
        self.assertEqual(self.active(*builds, defaults={"a": "1", "b": "2", "c": "1"}), ["a:1:1", "b:2:1", "c:1:1"])
        self.assertEqual(self.active(*builds, defaults={"a": "1", "b": "1", "c": "1"}), ["b:1:1", "c:1:1"])
        self.assertEqual(self.active(*builds, defaults={"a": "1", "b": "2"}), [], "what is needed by what is needed")

    def test_unknown_stream(self) -> None:
        for text in ("nodejs:99", "nodejs", ":16", ""):
            with self.subTest(text), self.assertRaises(UsageError):
                self.active(stream("nodejs", "16"), enabled=(text,))

    def test_documents(self) -> None:
        text = b"""---
document: modulemd
version: 2
data: {name: nodejs, stream: 16, version: 8, dependencies: [{requires: {platform: [el9], perl: [5.26]}}], artifacts: {rpms: [a-0:1-1.noarch]}}
---
document: modulemd-defaults
version: 1
data: {module: nodejs, stream: 16}
---
document: modulemd-packager
version: 3
data: {name: other}
---
"""
        found = modules.parse(text)
        self.assertEqual(found["defaults"], {"nodejs": "16"})
        expected = {"name": "nodejs", "stream": "16", "version": 8, "artifacts": ["a-0:1-1.noarch"], "requires": [["perl", ["5.26"]]]}
        self.assertEqual(found["builds"], [expected])


class Urls(unittest.TestCase):
    def test_join(self) -> None:
        self.assertEqual(join("http://host/a/b", "repodata/x"), "http://host/a/b/repodata/x")
        self.assertEqual(join("http://host/a/b/", "x.rpm"), "http://host/a/b/x.rpm")

    def test_local_path(self) -> None:
        self.assertEqual(str(local_path("file:///a%20b/c")), "/a b/c")
        self.assertIsNone(local_path("http://host/a"))


class Architecture(unittest.TestCase):
    def test_known(self) -> None:
        for arch in ("x86_64", "aarch64", "ppc64le", "s390x"):
            self.assertEqual(check_arch(arch), arch)

    def test_unknown(self) -> None:
        for arch in ("amd64x", "", "noarch86"):
            with self.subTest(arch), self.assertRaises(UsageError):
                check_arch(arch)
