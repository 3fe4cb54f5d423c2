"""The start-script set by its contract: config.json in, files in place, command started. No image is needed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "container-images" / "start-scripts"


class StartScripts(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-start-")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.me = f"{os.getuid()}:{os.getgid()}"
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for name in ("kolla_start", "kolla_set_configs"):
            (self.bin / name).symlink_to(SCRIPTS / name)

    def path(self, name: str, content: str | None = None) -> Path:
        path = self.root / name
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return path

    def run_script(self, name: str, config: object, *arguments: str, strategy: str | None = "COPY_ALWAYS", **environment: str):  # type: ignore[no-untyped-def]
        self.path("config.json", config if isinstance(config, str) else json.dumps(config))
        values = {
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin",
            "KOLLA_CONFIG_FILE": str(self.root / "config.json"),
            "KOLLA_RUN_COMMAND_FILE": str(self.root / "run_command"),
            "KOLLA_CONFIGURED_FILE": str(self.root / "configured"),
            **({"KOLLA_CONFIG_STRATEGY": strategy} if strategy else {}),
            **environment,
        }
        return subprocess.run([str(self.bin / name), *arguments], env=values, capture_output=True, text=True, check=False, timeout=60)

    def configure(self, *entries: dict[str, object], code: int = 0, **more: object) -> str:
        config: dict[str, object] = {"command": "true", "config_files": list(entries), **more}
        done = self.run_script("kolla_set_configs", config)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.root / name).stat().st_mode)

    def entry(self, source: str, dest: str, **more: object) -> dict[str, object]:
        return {"source": f"{self.root}/{source}", "dest": f"{self.root}/{dest}", "owner": self.me, "perm": "0640", **more}

    def test_a_file_with_owner_and_mode(self) -> None:
        self.path("in/a.conf", "content")
        self.configure(self.entry("in/a.conf", "etc/svc/a.conf"))
        self.assertEqual(self.path("etc/svc/a.conf").read_text(), "content")
        self.assertEqual(self.mode("etc/svc/a.conf"), 0o640)
        self.assertEqual(self.path("run_command").read_text(), "true")

    def test_a_destination_that_ends_with_a_slash_is_a_directory(self) -> None:
        self.path("in/a.conf", "1")
        self.configure(self.entry("in/a.conf", "etc/"))
        self.assertEqual(self.path("etc/a.conf").read_text(), "1")

    def test_a_glob(self) -> None:
        for name in ("a", "b"):
            self.path(f"in/{name}.conf", name)
        self.path("in/c.txt", "c")
        self.configure(self.entry("in/*.conf", "etc"))
        self.assertEqual(sorted(path.name for path in self.path("etc").iterdir()), ["a.conf", "b.conf"])

    def test_a_directory_replaces_or_merges(self) -> None:
        self.path("in/sub/new", "new")
        self.path("in/sub/same", "changed")
        for merge, left in ((False, ["new", "same"]), (True, ["new", "old", "same"])):
            with self.subTest(merge=merge):
                self.path("etc/sub/old", "old")
                self.path("etc/sub/same", "same")
                self.configure(self.entry("in/sub", "etc/sub", merge=merge))
                self.assertEqual(sorted(path.name for path in self.path("etc/sub").iterdir()), left)
                self.assertEqual(self.path("etc/sub/same").read_text(), "changed")
                self.assertEqual(self.mode("etc/sub"), 0o750, "a directory that may be read may be entered")

    def test_optional_and_missing_sources(self) -> None:
        self.configure(self.entry("in/none", "etc/none", optional=True))
        self.assertIn("does not exist", self.configure(self.entry("in/none", "etc/none"), code=2))
        self.assertFalse(self.path("etc/none").exists())

    def test_exclude_and_dangling_links(self) -> None:
        self.path("in/d/keep", "k")
        self.path("in/d/skip.me", "s")
        (self.root / "in/d/dangling").symlink_to("/nowhere/at/all")
        self.configure(self.entry("in/d", "etc/d", exclude=[r"\.me$"], ignore_dangling=True))
        self.assertEqual([path.name for path in self.path("etc/d").iterdir()], ["keep"])
        self.assertIn("dangling", self.configure(self.entry("in/d", "etc/d"), code=2))

    def test_preserve_properties(self) -> None:
        self.path("in/a", "x").chmod(0o711)
        self.configure(self.entry("in/a", "etc/a", preserve_properties=True))
        self.assertEqual(self.mode("etc/a"), 0o711)

    def test_permissions_recurse_and_exclude(self) -> None:
        for name in ("log/a/one", "log/a/secret/two", "log/b"):
            self.path(name, "x").chmod(0o600)
        entry = {"path": f"{self.root}/log", "owner": self.me, "perm": "0644", "recurse": True, "exclude": ["/secret"]}
        self.configure(permissions=[entry])
        self.assertEqual((self.mode("log/a/one"), self.mode("log/b"), self.mode("log/a")), (0o644, 0o644, 0o755))
        self.assertEqual(self.mode("log/a/secret/two"), 0o600)
        self.path("plain/x", "x").chmod(0o600)
        self.configure(permissions=[{"path": f"{self.root}/plain", "owner": self.me, "perm": "0700"}])
        self.assertEqual((self.mode("plain"), self.mode("plain/x")), (0o700, 0o600))

    @unittest.skipUnless(os.getuid() == 0, "only root may give files away")
    def test_owners(self) -> None:
        self.path("in/a", "x")
        self.configure(self.entry("in/a", "etc/a", owner="nobody"), permissions=[{"path": f"{self.root}/in", "owner": "daemon:0", "recurse": True}])
        import pwd

        nobody = pwd.getpwnam("nobody")
        information = self.path("etc/a").stat()
        self.assertEqual((information.st_uid, information.st_gid), (nobody.pw_uid, nobody.pw_gid))
        self.assertEqual((self.path("in/a").stat().st_uid, self.path("in/a").stat().st_gid), (pwd.getpwnam("daemon").pw_uid, 0))

    def test_check_changes_nothing_and_tells_the_difference(self) -> None:
        self.path("in/d/a", "1")
        config = {"command": "true", "config_files": [self.entry("in/d", "etc/d")]}
        self.assertEqual(self.run_script("kolla_set_configs", config, "--check").returncode, 1)
        self.assertFalse(self.path("etc").exists())
        self.assertEqual(self.run_script("kolla_set_configs", config).returncode, 0)
        self.assertEqual(self.run_script("kolla_set_configs", config, "--check").returncode, 0)
        for change in (lambda: self.path("etc/d/a", "2"), lambda: self.path("etc/d/a").chmod(0o600), lambda: self.path("etc/d/extra", "x")):
            change()
            self.assertEqual(self.run_script("kolla_set_configs", config, "--check").returncode, 1)
            self.assertEqual(self.run_script("kolla_set_configs", config).returncode, 0)

    def test_copy_once(self) -> None:
        self.path("in/a", "1")
        config = {"command": "true", "config_files": [self.entry("in/a", "etc/a")]}
        self.run_script("kolla_set_configs", config, strategy="COPY_ONCE")
        self.path("in/a", "2")
        self.run_script("kolla_set_configs", config, strategy="COPY_ONCE")
        self.assertEqual(self.path("etc/a").read_text(), "1")
        self.run_script("kolla_set_configs", config)
        self.assertEqual(self.path("etc/a").read_text(), "2")

    def test_mistakes_are_one_line_and_change_nothing(self) -> None:
        self.path("in/a", "x")
        good = self.entry("in/a", "etc/a")
        cases: tuple[tuple[object, str], ...] = (
            ("{", "is not JSON"),
            ([], "must hold an object"),
            ({"config_files": []}, "has no command"),
            ({"command": "a\nb"}, "one line"),
            ({"command": "x", "config_files": {}}, "must be a list"),
            ({"command": "x", "config_files": [{"source": "/a"}]}, "has no dest"),
            ({"command": "x", "config_files": [good, {**good, "ownre": "x"}]}, "unknown key 'ownre'"),
            ({"command": "x", "config_files": [good, {**good, "perm": "rw"}]}, "octal mode"),
            ({"command": "x", "config_files": [good, {**good, "dest": "etc"}]}, "absolute path"),
            ({"command": "x", "config_files": [good, {**good, "dest": "/etc/.."}]}, "below /"),
            ({"command": "x", "config_files": [good, {**good, "exclude": "("}]}, "regular expression"),
            ({"command": "x", "permissions": [{"path": "/x"}]}, "has no owner"),
        )
        for config, words in cases:
            with self.subTest(words):
                done = self.run_script("kolla_set_configs", config)
                self.assertEqual(done.returncode, 2)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertFalse(self.path("etc").exists())
        self.assertIn("unknown user", self.run_script("kolla_set_configs", {"command": "x", "config_files": [{**good, "owner": "no-such"}]}).stderr)
        self.assertIn("KOLLA_CONFIG_STRATEGY", self.run_script("kolla_set_configs", {"command": "x"}, strategy=None).stderr)

    def test_start_becomes_the_command_with_its_arguments(self) -> None:
        self.path("in/a", "x")
        config = {"command": "sh -c 'echo \"$0:$1:$2\"; echo pid $$' 'one word'", "config_files": [self.entry("in/a", "etc/a")]}
        done = self.run_script("kolla_start", config, "two", "three")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("one word:two:three", done.stdout)
        self.assertEqual(self.path("etc/a").read_text(), "x")

    def test_start_is_replaced_by_the_service(self) -> None:
        self.path("config.json", "")
        config = {"command": "sh -c 'exit 7'"}
        self.assertEqual(self.run_script("kolla_start", config).returncode, 7)

    def test_start_fails_when_the_configuration_does(self) -> None:
        done = self.run_script("kolla_start", {"command": "echo started", "config_files": [self.entry("in/none", "etc/none")]})
        self.assertEqual(done.returncode, 2)
        self.assertNotIn("started", done.stdout)

    def test_the_hook_shares_the_shell_and_can_be_skipped(self) -> None:
        hook = self.path("bin/kolla_extend_start", 'ARGS="$ARGS hooked"\n')
        hook.chmod(0o755)
        self.assertIn("said hooked", self.run_script("kolla_start", {"command": "echo said"}).stdout)
        self.assertNotIn("hooked", self.run_script("kolla_start", {"command": "echo said"}, KOLLA_SKIP_EXTEND_START="1").stdout)

    def test_umask(self) -> None:
        self.assertIn("0077", self.run_script("kolla_start", {"command": "sh -c umask"}, KOLLA_UMASK="0077").stdout)

    def test_configuration_from_the_environment(self) -> None:
        done = self.run_script("kolla_start", "ignored", KOLLA_CONFIG=json.dumps({"command": "echo from-environment"}))
        self.assertIn("from-environment", done.stdout)
