"""Module streams, compared with dnf."""

from __future__ import annotations

from tests.functional.rpm.support import SolverTestCase, texts
from topcoat_demo.rpms import RpmSpec


def document(name: str, stream: str, version: int, *specs: RpmSpec, requires: str = "platform: [el9]") -> str:
    artifacts = "".join(f"      - {spec.name}-{spec.epoch}:{spec.version}-{spec.release}.{spec.arch}\n" for spec in specs)
    return f"""---
document: modulemd
version: 2
data:
  name: {name}
  stream: "{stream}"
  version: {version}
  context: 00000000
  arch: x86_64
  summary: a module
  description: a module
  license: {{module: [MIT]}}
  dependencies:
    - requires: {{{requires}}}
  artifacts:
    rpms:
{artifacts}"""


def default(name: str, stream: str) -> str:
    return f"""---
document: modulemd-defaults
version: 1
data:
  module: {name}
  stream: "{stream}"
"""


NODE = RpmSpec("nodejs", "16.0", "1.module", arch="x86_64")
NPM = RpmSpec("npm", "8.0", "1.module")


class Modules(SolverTestCase):
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
        solver = self.solver(appstream, modules=("nodejs:18",))
        self.assertEqual(texts(solver.changes(self.inventory([NODE]))), ["nodejs 16.0-1.module -> 18.0-1.module"])
