"""Package specifications, module documents, names in dependencies: the parts that need no repository."""

from __future__ import annotations

import unittest

from topcoat.errors import UsageError
from topcoat.model import Nevra
from topcoat.rpm.evr import Order
from topcoat.rpm.settings import ModuleState, Settings
from topcoat.solver import modules
from topcoat.solver.available import meets
from topcoat.solver.modules import Build, Default, Streams
from topcoat.solver.relevance import names_in
from topcoat.solver.selection import spec_filter
from topcoat.solver.solver import check_arch

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


def build(
    name: str, stream: str, version: int = 1, *artifacts: str, arch: str = "x86_64", repository: str = "r", **requires: tuple[str, ...]
) -> Build:
    found = frozenset(artifacts or (f"{name}-0:{stream}.{version}-1.noarch",))
    return Build(name, stream, version, "c", arch, found, frozenset(), tuple(requires.items()), False, repository)


class Modules(unittest.TestCase):
    def active(self, *builds: Build, defaults: dict[str, str] | None = None, platform: str | None = "platform:el9", **states: str) -> list[str]:
        """States by module: a stream that is enabled, or ``disabled``."""
        own = tuple(
            ModuleState(name, "" if word == "disabled" else word, "disabled" if word == "disabled" else "enabled") for name, word in states.items()
        )
        streams = Streams(builds, tuple(Default(module, stream, 1) for module, stream in (defaults or {}).items()))
        return sorted(modules.activity(streams, Settings(modules=own), arch="x86_64", platform=platform).included)

    def test_state_and_default(self) -> None:
        both = (build("nodejs", "16"), build("nodejs", "18"))
        self.assertEqual(self.active(*both), [])
        self.assertEqual(self.active(*both, defaults={"nodejs": "16"}), ["nodejs-0:16.1-1.noarch"])
        self.assertEqual(self.active(*both, defaults={"nodejs": "16"}, nodejs="18"), ["nodejs-0:18.1-1.noarch"])
        self.assertEqual(self.active(*both, defaults={"nodejs": "16"}, nodejs="disabled"), [])
        self.assertEqual(self.active(*both, nodejs="99"), [], "an enabled stream that nobody has is no other stream")

    def test_every_version_of_the_stream(self) -> None:
        self.assertEqual(self.active(build("a", "1", 9), build("a", "1", 10), a="1"), ["a-0:1.10-1.noarch", "a-0:1.9-1.noarch"])

    def test_needs(self) -> None:
        builds = (build("a", "1", b=("2",)), build("b", "1"), build("b", "2", c=()), build("c", "1"))
        every = ["a-0:1.1-1.noarch", "b-0:2.1-1.noarch", "c-0:1.1-1.noarch"]
        self.assertEqual(self.active(*builds, defaults={"a": "1", "b": "2", "c": "1"}), every)
        self.assertEqual(self.active(*builds, defaults={"a": "1", "b": "1", "c": "1"}, b="1"), ["b-0:1.1-1.noarch", "c-0:1.1-1.noarch"])
        self.assertEqual(self.active(build("a", "1", b=("-2",)), build("b", "1"), build("b", "2"), a="1"), ["a-0:1.1-1.noarch", "b-0:1.1-1.noarch"])

    def test_platform(self) -> None:
        one = build("a", "1", platform=("el9",))
        self.assertEqual(self.active(one, a="1"), ["a-0:1.1-1.noarch"])
        self.assertEqual(self.active(one, a="1", platform="platform:el8"), [])
        self.assertEqual(self.active(one, a="1", platform=None), [])

    def test_documents(self) -> None:
        text = b"""---
document: modulemd
version: 2
data: {name: nodejs, stream: 16, version: 8, dependencies: [{requires: {perl: [5.26]}}], artifacts: {rpms: [a-1-1.noarch, odd]}}
---
document: modulemd-defaults
version: 1
data: {module: nodejs, stream: 16, modified: 7}
---
document: modulemd-packager
version: 3
data: {name: other}
---
"""
        found = modules.parse(text)
        self.assertEqual(found["defaults"], [["nodejs", "16", 7]])
        more = {"context": "", "arch": "noarch", "demodularized": [], "static": False}
        expected = {"name": "nodejs", "stream": "16", "version": 8, "artifacts": ["a-0:1-1.noarch"], "requires": [["perl", ["5.26"]]]}
        self.assertEqual(found["builds"], [expected | more])


class Architecture(unittest.TestCase):
    def test_known(self) -> None:
        for arch in ("x86_64", "aarch64", "ppc64le", "s390x"):
            self.assertEqual(check_arch(arch), arch)

    def test_unknown(self) -> None:
        for arch in ("amd64x", "", "noarch86"):
            with self.subTest(arch), self.assertRaises(UsageError):
                check_arch(arch)
