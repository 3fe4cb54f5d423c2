"""The node set-up script: right packages for a platform and a purpose, quick when everything is there, one line for bad arguments."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "tools" / "setup-node"


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300, check=False)


RELEASES = {
    "debian-12": 'ID=debian\nVERSION_ID="12"\n',
    "debian-13": 'ID=debian\nVERSION_ID="13"\n',
    "ubuntu-24": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n',
    "centos-9": 'ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="9"\n',
    "rocky-9": 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n',
    "centos-10": 'ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="10"\n',
}
"""os-release(5) as the platforms have it."""


def listed(release: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What would be installed on a platform."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "os-release"
        path.write_text(release)
        environment = {**os.environ, "SETUP_NODE_OS_RELEASE": str(path)}
        return subprocess.run([str(SCRIPT), "--list", *words], capture_output=True, text=True, timeout=60, check=False, env=environment)


class Platforms(unittest.TestCase):
    def test_each_has_its_names(self) -> None:
        """Of each platform what it has, and nothing that only another one has."""
        table = {
            "debian-12": ({"docker-registry", "python3-venv", "runc", "createrepo-c"}, {"crun", "createrepo_c", "python3.11"}),
            "debian-13": ({"docker-registry", "python3-venv", "runc", "createrepo-c"}, {"crun", "createrepo_c", "python3.11"}),
            "ubuntu-24": ({"docker-registry", "python3-venv", "runc", "createrepo-c"}, {"crun", "createrepo_c", "python3.11"}),
            "centos-9": ({"python3.11", "crun", "createrepo_c", "rpm-build"}, {"runc", "docker-registry", "python3-venv"}),
            "rocky-9": ({"python3.11", "crun", "createrepo_c", "rpm-build"}, {"runc", "docker-registry", "python3-venv"}),
            "centos-10": ({"crun", "createrepo_c", "rpm-build"}, {"runc", "docker-registry", "python3-venv", "python3.11"}),
        }
        for name, (there, absent) in table.items():
            with self.subTest(name):
                names = set(listed(RELEASES[name]).stdout.split())
                self.assertLessEqual(there | {"buildah", "podman", "skopeo", "dnf", "libsolv-tools"}, names)
                self.assertEqual(absent & names, set())

    def test_another_platform_is_refused_by_name(self) -> None:
        result = listed("ID=arch\n")
        self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (2, "", 1))
        self.assertIn("arch is neither", result.stderr)

    def test_no_name_stands_twice(self) -> None:
        lines = [line.split()[0] for line in (SCRIPT.parents[1] / "bindep.txt").read_text().splitlines() if re.match(r"\w", line)]
        self.assertEqual(sorted(set(lines)), sorted(lines))

    def test_a_python_is_found_and_fits(self) -> None:
        found = call("--python").stdout.strip()
        version = subprocess.run([found, "-c", "import sys, venv; print(sys.version_info >= (3, 11))"], capture_output=True, text=True, check=True)
        self.assertEqual(version.stdout, "True\n", f"{found}, asked by {sys.executable}")


class SetupNode(unittest.TestCase):
    def test_default_is_what_the_demo_needs(self) -> None:
        names = listed(RELEASES["debian-12"]).stdout.split()
        self.assertIn("buildah", names)
        self.assertIn("docker-registry", names)
        self.assertNotIn("shellcheck", names)
        self.assertNotIn("createrepo_c", names, "a name of another platform")
        self.assertEqual(names, sorted(set(names)))

    def test_profiles_add(self) -> None:
        default, everything, zuul = (set(listed(RELEASES["debian-12"], *words).stdout.split()) for words in ((), ("--all",), ("zuul",)))
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
