"""The node set-up script: right packages for a platform and a purpose, quick when everything is there, one line for bad arguments."""

import subprocess
import unittest
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "tools" / "setup-node"


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300, check=False)


@unittest.skipUnless(Path("/etc/debian_version").exists(), "lists Debian's names")
class SetupNode(unittest.TestCase):
    def test_default_is_what_the_demo_needs(self) -> None:
        names = call("--list").stdout.split()
        self.assertIn("buildah", names)
        self.assertIn("docker-registry", names)
        self.assertNotIn("shellcheck", names)
        self.assertNotIn("createrepo_c", names, "a name of another platform")
        self.assertEqual(names, sorted(set(names)))

    def test_profiles_add(self) -> None:
        default, everything, zuul = (set(call("--list", *words).stdout.split()) for words in ((), ("--all",), ("zuul",)))
        self.assertLess(default, everything)
        self.assertIn("shellcheck", everything)
        self.assertIn("bubblewrap", zuul - everything)

    def test_bad_argument_is_one_line_and_code_2(self) -> None:
        result = call("--no-such-option")
        self.assertEqual((result.returncode, result.stderr.count("\n")), (2, 1))

    def test_script_is_clean(self) -> None:
        self.assertEqual(subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True, timeout=60, check=False).stdout, "")


if __name__ == "__main__":
    unittest.main()
