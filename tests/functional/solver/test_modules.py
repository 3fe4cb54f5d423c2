"""Module streams, compared with dnf."""

from __future__ import annotations

import re

from tests.functional.solver.support import SolverTestCase, texts
from topcoat.rpm import inventory
from topcoat_demo.rpms import RpmSpec


def document(
    name: str, stream: str, version: int, *specs: RpmSpec, requires: str = "platform: [el9]", context: str = "00000000", more: str = ""
) -> str:
    artifacts = "".join(f"      - {spec.name}-{spec.epoch}:{spec.version}-{spec.release}.{spec.arch}\n" for spec in specs)
    return f"""---
document: modulemd
version: 2
data:
  name: {name}
  stream: "{stream}"
  version: {version}
  context: "{context}"
  arch: x86_64
  summary: a module
  description: a module
  license: {{module: [MIT]}}
{more}  dependencies:
    - requires: {{{requires}}}
  artifacts:
    rpms:
{artifacts}"""


def default(name: str, stream: str, modified: int = 1) -> str:
    return f"""---
document: modulemd-defaults
version: 1
data:
  module: {name}
  modified: {modified}
  stream: "{stream}"
"""


def state(name: str, stream: str, word: str = "enabled") -> str:
    return f"[{name}]\nname={name}\nstream={stream}\nprofiles=\nstate={word}\n"


NODE = RpmSpec("nodejs", "16.0", "1.module", arch="x86_64")
NPM = RpmSpec("npm", "8.0", "1.module")


class Modules(SolverTestCase):
    def root(self, specs, disabled: tuple[str, ...] = (), **enabled: str):
        """A root with enabled streams and disabled modules."""
        root = self.bench.root(specs)
        for name, stream in enabled.items():
            self.bench.write(root, f"etc/dnf/modules.d/{name}.module", state(name, stream))
        for name in disabled:
            self.bench.write(root, f"etc/dnf/modules.d/{name}.module", state(name, "", "disabled"))
        return root

    def test_stream_that_is_not_active_is_hidden(self) -> None:
        newer = NODE.bump(version="18.0")
        modules = document("nodejs", "18", 1, newer)
        appstream = self.bench.repository("appstream", [newer], modules=modules)
        self.assertEqual(self.both([NODE], appstream), ())

    def test_default_stream_counts(self) -> None:
        fixed, other = NODE.bump(version="16.1"), NODE.bump(version="18.0")
        modules = document("nodejs", "16", 1, fixed) + document("nodejs", "18", 1, other) + default("nodejs", "16")
        appstream = self.bench.repository("appstream", [fixed, other], modules=modules)
        self.assertEqual(texts(self.both([NODE], appstream)), ["nodejs 16.0-1.module -> 16.1-1.module"])

    def test_active_stream_hides_plain_packages_of_its_names(self) -> None:
        plain = RpmSpec("nodejs", "20.0", "1.el9", arch="x86_64")
        fixed = NODE.bump(version="16.1")
        appstream = self.bench.repository("appstream", [fixed], modules=document("nodejs", "16", 1, fixed) + default("nodejs", "16"))
        self.assertEqual(texts(self.both([NODE], appstream, self.bench.repository("plain", [plain]))), ["nodejs 16.0-1.module -> 16.1-1.module"])

    def test_hotfix_repository_is_never_hidden(self) -> None:
        """What a gating repository must be: its builds count whatever the modules say."""
        plain = RpmSpec("nodejs", "20.0", "1.el9", arch="x86_64")
        fixed = NODE.bump(version="16.1")
        appstream = self.bench.repository("appstream", [fixed], modules=document("nodejs", "16", 1, fixed) + default("nodejs", "16"))
        hotfix = self.bench.repository("hotfix", [plain], module_hotfixes=True)
        self.assertEqual(texts(self.both([NODE], appstream, hotfix)), ["nodejs 16.0-1.module -> 20.0-1.el9"])

    def test_gated_hotfix(self) -> None:
        fixed = NODE.bump(version="16.1")
        appstream = self.bench.repository("appstream", [fixed], modules=document("nodejs", "16", 1, fixed) + default("nodejs", "16"))
        gating = self.bench.repository("gating", [RpmSpec("nodejs", "15.0", "1.el9", arch="x86_64")], gated=True, module_hotfixes=True)
        self.assertEqual(texts(self.both([NODE], gating, appstream)), ["nodejs 16.0-1.module -> 15.0-1.el9"])

    def test_provider_of_an_active_name_is_hidden(self) -> None:
        fixed = NODE.bump(version="16.1")
        impostor = RpmSpec("impostor", "2.0", provides=("nodejs = 99",))
        appstream = self.bench.repository("appstream", [fixed], modules=document("nodejs", "16", 1, fixed) + default("nodejs", "16"))
        self.assertEqual(self.both([RpmSpec("impostor", "1.0")], appstream, self.bench.repository("plain", [impostor])), ())

    def test_older_build_of_the_active_stream(self) -> None:
        old, new = NODE.bump(version="16.1"), NODE.bump(version="16.2")
        modules = document("nodejs", "16", 1, old) + document("nodejs", "16", 2, new) + default("nodejs", "16")
        appstream = self.bench.repository("appstream", [old, new], modules=modules)
        self.assertEqual(texts(self.both([NODE], appstream)), ["nodejs 16.0-1.module -> 16.2-1.module"])

    def test_package_that_only_the_older_build_has(self) -> None:
        old, new = NPM.bump(version="8.1"), NODE.bump(version="16.2")
        modules = document("nodejs", "16", 1, old) + document("nodejs", "16", 2, new) + default("nodejs", "16")
        appstream = self.bench.repository("appstream", [old, new], modules=modules)
        self.both([NODE, NPM], appstream)

    def test_stream_whose_needs_are_not_active(self) -> None:
        fixed = NODE.bump(version="16.1")
        modules = document("nodejs", "16", 1, fixed, requires="python: [nothing]") + default("nodejs", "16")
        appstream = self.bench.repository("appstream", [fixed], modules=modules)
        self.both([NODE], appstream)

    def test_enabled_stream(self) -> None:
        """A recipe enables a stream that is not the default."""
        fixed, other = NODE.bump(version="16.1"), NODE.bump(version="18.0")
        modules = document("nodejs", "16", 1, fixed) + document("nodejs", "18", 1, other) + default("nodejs", "16")
        appstream = self.bench.repository("appstream", [fixed, other], modules=modules)
        self.assertEqual(texts(self.both(self.root([NODE], nodejs="18"), appstream)), ["nodejs 16.0-1.module -> 18.0-1.module"])

    def test_stream_that_reads_like_a_number(self) -> None:
        """Real ones are 5.30 and 3.10, and nobody quotes them."""
        ten = RpmSpec("nodejs", "16.10", "1.module", arch="x86_64")
        one = RpmSpec("nodejs", "16.11", "1.module", arch="x86_64")
        needing = document("nodejs", "16.10", 20260101, ten, requires="npm: [3.10]") + document("npm", "3.10", 1, NPM)
        modules = re.sub(r'stream: "(.*)"', r"stream: \1", needing + document("nodejs", "16.1", 2, one))
        appstream = self.bench.repository("appstream", [ten, one, NPM], modules=modules)
        changes = texts(self.both(self.root([NODE], nodejs="16.10", npm="3.10"), appstream))
        self.assertEqual(changes, ["nodejs 16.0-1.module -> 16.10-1.module"])

    def test_enabled_stream_with_several_versions(self) -> None:
        """All versions count: a package that only an older one holds is there."""
        old, new = NPM.bump(version="8.1"), NODE.bump(version="16.2")
        modules = document("nodejs", "16", 1, old) + document("nodejs", "16", 2, new)
        appstream = self.bench.repository("appstream", [old, new], modules=modules)
        changes = texts(self.both(self.root([NODE, NPM], nodejs="16"), appstream))
        self.assertEqual(changes, ["nodejs 16.0-1.module -> 16.2-1.module", "npm 8.0-1.module -> 8.1-1.module"])

    def test_disabled_module(self) -> None:
        """Its packages are hidden, and plain ones of the same names are not."""
        fixed, plain = NODE.bump(version="16.1"), RpmSpec("nodejs", "20.0", "1.el9", arch="x86_64")
        modules = document("nodejs", "16", 1, fixed) + default("nodejs", "16")
        appstream = self.bench.repository("appstream", [fixed], modules=modules)
        self.assertEqual(self.both(self.root([NODE], disabled=("nodejs",)), appstream), ())
        plain_too = (appstream, self.bench.repository("plain", [plain]))
        self.assertEqual(texts(self.both(self.root([NODE], disabled=("nodejs",)), *plain_too)), ["nodejs 16.0-1.module -> 20.0-1.el9"])

    def test_defaults_that_disagree(self) -> None:
        fixed, other = NODE.bump(version="16.1"), NODE.bump(version="18.0")
        first = self.bench.repository("first", [fixed], modules=document("nodejs", "16", 1, fixed) + default("nodejs", "16"))
        for modified, expected in ((1, []), (2, ["nodejs 16.0-1.module -> 18.0-1.module"])):
            with self.subTest(modified=modified):
                modules = document("nodejs", "18", 1, other) + default("nodejs", "18", modified)
                second = self.bench.repository(f"second{modified}", [other], modules=modules)
                self.assertEqual(texts(self.both([NODE], first, second)), expected)

    def test_defaults_of_the_image(self) -> None:
        fixed, other = NODE.bump(version="16.1"), NODE.bump(version="18.0")
        modules = document("nodejs", "16", 1, fixed) + document("nodejs", "18", 1, other) + default("nodejs", "16", 9)
        appstream = self.bench.repository("appstream", [fixed, other], modules=modules)
        root = self.bench.root([NODE])
        self.bench.write(root, "etc/dnf/modules.defaults.d/own.yaml", default("nodejs", "18"))
        self.assertEqual(texts(self.both(root, appstream)), ["nodejs 16.0-1.module -> 18.0-1.module"])

    def test_stream_that_conflicts_with_another(self) -> None:
        """Of two enabled streams that exclude each other neither is active."""
        fixed, tool = NODE.bump(version="16.1"), RpmSpec("tool", "2.0")
        modules = document("nodejs", "16", 1, fixed) + document("tool", "1", 1, tool, requires="nodejs: [18], platform: [el9]")
        appstream = self.bench.repository("appstream", [fixed, tool], modules=modules)
        self.both(self.root([NODE, RpmSpec("tool", "1.0")], nodejs="16", tool="1"), appstream)

    def test_default_stream_that_does_not_fit_yields(self) -> None:
        fixed, tool = NODE.bump(version="16.1"), RpmSpec("tool", "2.0")
        modules = document("nodejs", "16", 1, fixed) + document("tool", "1", 1, tool, requires="nodejs: [18], platform: [el9]") + default("tool", "1")
        appstream = self.bench.repository("appstream", [fixed, tool], modules=modules)
        changes = texts(self.both(self.root([NODE, RpmSpec("tool", "1.0")], nodejs="16"), appstream))
        self.assertEqual(changes, ["nodejs 16.0-1.module -> 16.1-1.module"])

    def test_contexts(self) -> None:
        """Two builds of one stream for two streams of what it needs: the one that fits what is enabled is active."""
        first, second = NPM.bump(version="8.1"), NPM.bump(version="8.2")
        needed = document("base", "1", 1, RpmSpec("base-1", "1")) + document("base", "2", 1, RpmSpec("base-2", "1"))
        modules = needed + document("npm", "8", 1, first, requires="base: [1], platform: [el9]", context="aaaa0001")
        modules += document("npm", "8", 1, second, requires="base: [2], platform: [el9]", context="aaaa0002")
        appstream = self.bench.repository("appstream", [first, second], modules=modules)
        self.assertEqual(texts(self.both(self.root([NPM], npm="8", base="1"), appstream)), ["npm 8.0-1.module -> 8.1-1.module"])
        self.assertEqual(texts(self.both(self.root([NPM], npm="8", base="2"), appstream)), ["npm 8.0-1.module -> 8.2-1.module"])

    def test_stream_for_another_platform(self) -> None:
        fixed = NODE.bump(version="16.1")
        modules = document("nodejs", "16", 1, fixed, requires="platform: [el8]") + default("nodejs", "16")
        appstream = self.bench.repository("appstream", [fixed], modules=modules)
        self.assertEqual(self.both([NODE], appstream), ())
        root = self.bench.root([NODE])
        self.bench.write(root, "etc/dnf/dnf.conf", "[main]\nmodule_platform_id=platform:el8\n")
        self.assertEqual(texts(self.both(root, appstream)), ["nodejs 16.0-1.module -> 16.1-1.module"])

    def test_platform_of_the_release_package(self) -> None:
        fixed = NODE.bump(version="16.1")
        modules = document("nodejs", "16", 1, fixed, requires="platform: [el8]") + default("nodejs", "16")
        release = RpmSpec("demo-release", "8", provides=("system-release = 8", "base-module(platform:el8)"))
        appstream = self.bench.repository("appstream", [fixed], modules=modules)
        self.assertEqual(texts(self.both([NODE, release], appstream)), ["nodejs 16.0-1.module -> 16.1-1.module"])

    def test_demodularized_package(self) -> None:
        """The stream gave a package up: a plain one of that name may come."""
        fixed, plain = NODE.bump(version="16.1"), RpmSpec("npm", "9.0")
        modules = document("nodejs", "16", 1, fixed, NPM, more="  demodularized: {rpms: [npm]}\n") + default("nodejs", "16")
        repos = (self.bench.repository("appstream", [fixed], modules=modules), self.bench.repository("plain", [plain]))
        self.assertEqual(texts(self.both([NODE, NPM], *repos)), ["nodejs 16.0-1.module -> 16.1-1.module", "npm 8.0-1.module -> 9.0-1.el9"])

    def test_fail_safe(self) -> None:
        """The metadata of an enabled stream is gone: its names stay hidden, by what dnf kept in the image, and the plan can say so."""
        plain = RpmSpec("nodejs", "20.0", "1.el9", arch="x86_64")
        repository = self.bench.repository("plain", [plain])
        root = self.root([NODE], nodejs="16")
        self.assertEqual(texts(self.both(root, repository)), ["nodejs 16.0-1.module -> 20.0-1.el9"])
        self.bench.write(root, "var/lib/dnf/modulefailsafe/nodejs:16:x86_64.yaml", document("nodejs", "16", 1, NODE))
        self.assertEqual(self.both(root, repository), ())
        held = self.solver(repository).held_back(inventory.from_root(root))
        reason = "its name belongs to the module stream nodejs:16, whose metadata is gone from the repositories"
        self.assertEqual(held, (f"nodejs-20.0-1.el9.x86_64 ({reason})",))

    def test_enabled_stream_that_nobody_describes(self) -> None:
        repository = self.bench.repository("plain", [RpmSpec("other", "1")])
        held = self.solver(repository).held_back(inventory.from_root(self.root([NODE], nodejs="16")))
        self.assertEqual(held, ("module stream nodejs:16 is enabled and no repository describes it",))
