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
            "KOLLA_DEFAULTS_DIRECTORY": str(self.root / "defaults"),
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
        self.configure(self.entry("in/*.conf", "etc/"))
        self.assertEqual(sorted(path.name for path in self.path("etc").iterdir()), ["a.conf", "b.conf"])
        self.configure(self.entry("in/*.conf", "etc/one", merge=True))
        self.assertEqual(self.path("etc/one").read_text(), "b", "without the slash each source goes to the same place")

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
        self.assertIn("does not exist", self.configure(self.entry("in/none", "etc/none"), code=1))
        self.assertFalse(self.path("etc/none").exists())

    def test_exclude_and_dangling_links(self) -> None:
        self.path("in/d/keep", "k")
        self.path("in/d/skip.me", "s")
        (self.root / "in/d/dangling").symlink_to("/nowhere/at/all")
        self.configure(self.entry("in/d", "etc/d", exclude=[r"\.me$"], ignore_dangling=True))
        self.assertEqual([path.name for path in self.path("etc/d").iterdir()], ["keep"])
        self.assertIn("a link to /nowhere/at/all, which does not exist", self.configure(self.entry("in/d", "etc/d"), code=2))

    def test_preserve_properties(self) -> None:
        self.path("in/a", "x").chmod(0o4711)
        os.utime(self.path("in/a"), (1, 1))
        self.configure({"source": f"{self.root}/in/a", "dest": f"{self.root}/etc/a", "preserve_properties": True})
        self.assertEqual((self.mode("etc/a"), self.path("etc/a").stat().st_mtime), (0o4711, 1), "the setuid bit outlives the change of owner")

    def test_links_stay_links_where_everything_is_merged_as_it_is(self) -> None:
        self.path("in/d/real", "r")
        self.path("in/d/below/x", "x")
        for name, target in (("to-file", "real"), ("dangling", "/nowhere"), ("to-folder", "below")):
            (self.root / "in/d" / name).symlink_to(target)
        self.path("etc/d/dangling", "was a file")
        self.configure(self.entry("in/d", "etc/d", merge=True, preserve_properties=True))
        self.assertEqual([os.readlink(self.path(f"etc/d/{name}")) for name in ("to-file", "dangling")], ["real", "/nowhere"])
        self.assertEqual((self.path("etc/d/to-folder").is_symlink(), self.path("etc/d/to-folder/x").read_text()), (False, "x"))
        config = {"command": "true", "config_files": [self.entry("in/d", "etc/d", merge=True, preserve_properties=True)]}
        self.assertEqual(self.run_script("kolla_set_configs", config, "--check").returncode, 0)
        (self.root / "in/d/dangling").unlink()
        self.configure(self.entry("in/d", "etc/e", preserve_properties=True))
        self.assertEqual((self.path("etc/e/to-file").is_symlink(), self.path("etc/e/to-file").read_text()), (False, "r"))

    def test_a_link_around_itself_and_a_copy_that_eats_its_source_are_refused(self) -> None:
        self.path("in/d/a", "1")
        (self.root / "in/d/self").symlink_to(".")
        self.assertIn("around itself", self.configure(self.entry("in/d", "etc/d"), code=2))
        (self.root / "in/d/self").unlink()
        for source, dest, more, words in (
            ("in/d", "in", {}, "which is deleted first"),
            ("in/d", "in/d/deeper", {"merge": True}, "lies in its own source"),
            ("in/d/a", "in/d/a", {"merge": True}, "lies in its own source"),
        ):
            with self.subTest(words):
                self.assertIn(words, self.configure(self.entry(source, dest, **more), code=1))
                self.assertEqual(self.path("in/d/a").read_text(), "1")

    def test_everything_may_be_merged_into_the_root(self) -> None:
        script: dict[str, object] = {}
        exec(compile((SCRIPTS / "kolla_set_configs").read_text(), "kolla_set_configs", "exec"), script)
        script["guard"]("/var/lib/kolla/config_files/src/etc", "/etc", True)  # type: ignore[operator]
        script["validate"](  # type: ignore[operator]
            {"command": "x", "config_files": [{"source": "/src/*", "dest": "/", "merge": True, "preserve_properties": True}]}, "here"
        )
        with self.assertRaises(script["ConfigError"]):  # type: ignore[arg-type]
            script["guard"]("/var/lib/kolla/config_files/src", "/etc/..", False)  # type: ignore[operator]

    def test_a_destination_that_is_a_link_is_replaced_by_what_is_copied(self) -> None:
        self.path("in/a", "new")
        self.path("elsewhere/x", "kept")
        self.path("etc/other", "")
        (self.root / "etc/a").symlink_to("../elsewhere")
        self.configure(self.entry("in/a", "etc/a"))
        self.assertEqual((self.path("etc/a").is_symlink(), self.path("elsewhere/x").read_text()), (False, "kept"))

    def test_modes(self) -> None:
        self.path("in/a", "x").chmod(0o751)
        for perm, mode in (("640", 0o640), ("0o640", 0o640), ("1777", 0o1777), ("02750"[1:], 0o2750), (None, 0o751), ("", 0o751)):
            with self.subTest(perm=perm):
                self.configure(self.entry("in/a", "etc/a", perm=perm))
                self.assertEqual(self.mode("etc/a"), mode)

    def test_directories_and_files_are_made_before_anything_is_copied(self) -> None:
        self.path("in/a", "x")
        made = [{"path": f"{self.root}/var/svc", "owner": self.me, "perm": "0640"}]
        files = [{"path": f"{self.root}/var/svc/{name}", "owner": self.me, "perm": "0604"} for name in ("empty", "there")]
        self.path("var/svc/there", "content")
        self.configure(self.entry("in/a", "etc/a"), directories=made, files=files)
        self.assertEqual((self.mode("var/svc"), self.mode("var/svc/empty"), self.mode("var/svc/there")), (0o750, 0o604, 0o604))
        self.assertEqual((self.path("var/svc/empty").read_text(), self.path("var/svc/there").read_text()), ("", "content"))
        self.assertIn("No such file", self.configure(files=[{**files[0], "path": f"{self.root}/nowhere/x"}], code=2))
        self.assertIn("must be a file", self.configure(files=[{**files[0], "path": f"{self.root}/var"}], code=2))
        self.assertIn("is a pattern", self.configure(directories=[{**made[0], "path": f"{self.root}/var/*"}], code=1))
        self.assertIn("perm is missing", self.configure(directories=[{"path": f"{self.root}/var", "owner": self.me}], code=1))

    def test_what_a_file_replaced_comes_back_with_a_later_configuration(self) -> None:
        self.path("in/a", "configured")
        self.path("in/d/x", "configured")
        self.path("etc/a", "original").chmod(0o611)
        self.path("etc/d/of-the-image", "original")
        (self.root / "etc/d/link").symlink_to("/nowhere")
        both = [self.entry("in/a", "etc/a"), self.entry("in/d", "etc/d"), self.entry("in/a", "etc/new")]
        for _ in range(3):
            self.configure(*both)
        self.assertEqual([path.name for path in self.path("etc/d").iterdir()], ["x"])
        check = self.run_script("kolla_set_configs", {"command": "true", "config_files": both[:1]}, "--check")
        self.assertEqual(check.returncode, 1)
        self.assertIn("etc/new is no longer in the configuration", check.stderr)
        self.configure()
        self.assertEqual((self.path("etc/a").read_text(), self.mode("etc/a"), self.path("etc/new").exists()), ("original", 0o611, False))
        self.assertEqual(sorted(path.name for path in self.path("etc/d").iterdir()), ["link", "of-the-image"])

    def test_what_is_merged_into_a_directory_is_not_taken_back(self) -> None:
        self.path("in/d/x", "configured")
        self.path("var/svc/data", "of the service")
        self.configure(self.entry("in/d", "var/svc", merge=True))
        self.path("var/svc/later", "of the service")
        self.configure(self.entry("in/d", "var/svc", merge=True))
        self.assertEqual(sorted(path.name for path in self.path("var/svc").iterdir()), ["data", "later", "x"])

    def test_a_kept_state_that_is_damaged_is_said(self) -> None:
        self.path("defaults/state", "[")
        self.assertIn("is not what this program wrote", self.configure(code=2))

    def test_yaml_comes_before_json(self) -> None:
        import yaml

        folder = Path(yaml.__file__).parents[1]
        self.path("config.yaml", "command: echo from yaml\n")
        more = {"KOLLA_CONFIG_FILE": str(self.root / "config.yaml"), "PYTHONPATH": str(folder)}
        self.assertEqual(self.run_script("kolla_set_configs", "", **more).returncode, 0)
        self.assertEqual(self.path("run_command").read_text(), "echo from yaml")
        self.path("config.yaml", "command: [\n")
        self.assertIn("is not YAML", self.run_script("kolla_set_configs", "", **more).stderr)
        self.path("config.yaml", "command: x\npermissions: [{path: /x, owner: root, perm: 0640}]\n")
        self.assertIn("perm 416 is not an octal mode in quotes", self.run_script("kolla_set_configs", "", **more).stderr)
        self.path("module/yaml.py", "raise ImportError")
        done = self.run_script("kolla_set_configs", "", **{**more, "PYTHONPATH": str(self.root / "module")})
        self.assertEqual((done.returncode, "PyYAML" in done.stderr), (1, True))

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
        self.configure(self.entry("in/a", "etc/a", owner="daemon"), permissions=[{"path": f"{self.root}/in", "owner": "daemon:0", "recurse": True}])
        import grp
        import pwd

        information = self.path("etc/a").stat()
        self.assertEqual((information.st_uid, information.st_gid), (pwd.getpwnam("daemon").pw_uid, grp.getgrnam("daemon").gr_gid))
        self.assertEqual((self.path("in/a").stat().st_uid, self.path("in/a").stat().st_gid), (pwd.getpwnam("daemon").pw_uid, 0))

    @unittest.skipUnless(os.getuid() == 0, "only root may give files away")
    def test_the_group_is_the_one_that_bears_the_name_of_the_user(self) -> None:
        import grp
        import pwd

        groups = {group.gr_name for group in grp.getgrall()}
        alone = next(account.pw_name for account in pwd.getpwall() if account.pw_name not in groups)
        self.path("in/a", "x")
        self.assertIn(f"unknown group '{alone}'", self.configure(self.entry("in/a", "etc/a", owner=alone), code=2))
        for owner, ids in ((f"{alone}:root", (pwd.getpwnam(alone).pw_uid, 0)), ("daemon:", (1, grp.getgrnam("daemon").gr_gid)), ("77", (77, 77))):
            self.configure(self.entry("in/a", "etc/a", owner=owner))
            self.assertEqual((self.path("etc/a").stat().st_uid, self.path("etc/a").stat().st_gid), ids)

    def test_check_changes_nothing_and_tells_the_difference(self) -> None:
        self.path("in/d/a", "1")
        config = {"command": "true", "config_files": [self.entry("in/d", "etc/d")]}
        self.assertEqual(self.run_script("kolla_set_configs", config, "--check").returncode, 1)
        self.assertFalse(self.path("etc").exists())
        self.assertEqual(self.run_script("kolla_set_configs", config).returncode, 0)
        self.assertEqual(self.run_script("kolla_set_configs", config, "--check").returncode, 0)
        self.path("etc/d/extra", "of the service")
        self.assertEqual(self.run_script("kolla_set_configs", config, "--check").returncode, 0, "what the service added is its own")
        for change in (lambda: self.path("etc/d/a", "2"), lambda: self.path("etc/d/a").chmod(0o600), lambda: self.path("run_command", "other")):
            change()
            self.assertEqual(self.run_script("kolla_set_configs", config, "--check").returncode, 1)
            self.assertEqual(self.run_script("kolla_set_configs", config).returncode, 0)

    def test_copy_once(self) -> None:
        self.path("in/a", "1")
        config = {"command": "true", "config_files": [self.entry("in/a", "etc/a")]}
        self.run_script("kolla_set_configs", config, strategy="COPY_ONCE")
        self.path("in/a", "2")
        again = self.run_script("kolla_set_configs", {**config, "command": "other"}, strategy="COPY_ONCE")
        self.assertEqual((again.returncode, self.path("etc/a").read_text(), self.path("run_command").read_text()), (0, "1", "true"))
        self.run_script("kolla_set_configs", config)
        self.assertEqual(self.path("etc/a").read_text(), "2")

    def test_mistakes_are_one_line_and_change_nothing(self) -> None:
        self.path("in/a", "x")
        good = self.entry("in/a", "etc/a")
        cases: tuple[tuple[object, str], ...] = (
            ("{", "is not JSON"),
            ([], "must hold an object"),
            ({"config_files": []}, "has no command"),
            ({"command": 1}, "has no command"),
            ({"command": "x", "config_files": {"a": 1}}, "must be a list"),
            ({"command": "x", "files": None}, "must be a list"),
            ({"command": "x", "config_files": [{"source": "/a"}]}, "dest is missing"),
            ({"command": "x", "config_files": [good, {**good, "ownre": "x"}]}, "unknown key 'ownre'"),
            ({"command": "x", "config_files": [good, {**good, "perm": "rw"}]}, "octal mode"),
            ({"command": "x", "config_files": [good, {**good, "perm": 640}]}, "in quotes"),
            ({"command": "x", "config_files": [good, {**good, "dest": ""}]}, "dest is missing"),
            ({"command": "x", "config_files": [good, {**good, "source": "/a\0b"}]}, "source is missing or is not text"),
            ({"command": "x", "config_files": [good, {**good, "exclude": "("}]}, "regular expression"),
            ({"command": "x", "config_files": [good, {"source": "/a", "dest": "/b", "owner": "root"}]}, "perm is missing"),
            ({"command": "x", "permissions": [{"path": "/x"}]}, "owner is missing"),
        )
        for config, words in cases:
            with self.subTest(words):
                done = self.run_script("kolla_set_configs", config)
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertFalse(self.path("etc").exists())
        self.assertIn("unknown user", self.run_script("kolla_set_configs", {"command": "x", "config_files": [{**good, "owner": "no-such"}]}).stderr)
        self.assertEqual(self.run_script("kolla_set_configs", {"command": "x", "config_files": [{**good, "owner": "no-such"}]}).returncode, 2)
        self.assertIn("KOLLA_CONFIG_STRATEGY", self.run_script("kolla_set_configs", {"command": "x"}, strategy=None).stderr)

    def test_what_is_not_known_is_said_and_what_is_empty_is_accepted(self) -> None:
        warned = self.configure(permissions=[{"path": "/none", "owner": "root", "later": 1}], volumes=[])
        self.assertIn("'volumes' is not known", warned)
        self.assertIn("'later' is not known", warned)
        self.assertEqual(self.run_script("kolla_set_configs", {"command": "a\nb", "config_files": {}}).returncode, 0)

    def test_the_command_can_be_read_by_the_service(self) -> None:
        self.path("config.json", json.dumps({"command": "true"}))
        values = {**os.environ, "KOLLA_CONFIG_STRATEGY": "COPY_ALWAYS", "KOLLA_CONFIG_FILE": str(self.root / "config.json")}
        values |= {"KOLLA_RUN_COMMAND_FILE": str(self.root / "run_command"), "KOLLA_DEFAULTS_DIRECTORY": str(self.root / "defaults")}
        subprocess.run(["sh", "-c", f"umask 077; exec {self.bin}/kolla_set_configs"], env=values, check=True, timeout=60)
        self.assertEqual(self.mode("run_command"), 0o644)

    def test_start_splits_the_command_at_blanks_only(self) -> None:
        self.path("in/a", "x")
        say = self.path("bin/say", '#!/bin/sh\nfor word in "$@"; do echo "<$word>"; done\n')
        say.chmod(0o755)
        config = {"command": "say 'a b' \"c\" $HOME;\nd", "config_files": [self.entry("in/a", "etc/a")]}
        done = self.run_script("kolla_start", config, "two words", "three")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines()[-7:], ["<'a>", "<b'>", '<"c">', "<$HOME;>", "<d>", "<two words>", "<three>"])
        self.assertEqual(self.path("etc/a").read_text(), "x")

    def test_start_gives_the_words_of_the_command_to_a_shell_that_the_command_names(self) -> None:
        done = self.run_script("kolla_start", {"command": "bash -c $* -- eval echo one; echo two"})
        self.assertEqual(done.stdout.splitlines()[-2:], ["one", "two"])

    def test_start_without_a_command(self) -> None:
        done = self.run_script("kolla_start", {"command": " "})
        self.assertEqual((done.returncode, "the command is empty" in done.stderr), (1, True))

    def test_start_runs_what_an_image_adds(self) -> None:
        for name in ("kolla_copy_cacerts", "kolla_install_projects"):
            self.path(f"bin/{name}", f"#!/bin/sh\necho ran {name}\n").chmod(0o755)
        out = self.run_script("kolla_start", {"command": "true"}).stdout
        self.assertIn("ran kolla_copy_cacerts\nran kolla_install_projects\n", out)

    def test_start_is_replaced_by_the_service(self) -> None:
        self.path("config.json", "")
        config = {"command": "sh -c exit${IFS}7"}
        self.assertEqual(self.run_script("kolla_start", config).returncode, 7)

    def test_start_fails_when_the_configuration_does(self) -> None:
        done = self.run_script("kolla_start", {"command": "echo started", "config_files": [self.entry("in/none", "etc/none")]})
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("started", done.stdout)

    def test_the_hook_shares_the_shell_and_can_be_skipped(self) -> None:
        hook = self.path("bin/kolla_extend_start", 'ARGS="$ARGS hooked"\n')
        hook.chmod(0o755)
        self.assertIn("said hooked", self.run_script("kolla_start", {"command": "echo said"}).stdout)
        self.assertNotIn("hooked", self.run_script("kolla_start", {"command": "echo said"}, KOLLA_SKIP_EXTEND_START="").stdout)

    def test_umask(self) -> None:
        for name in ("KOLLA_UMASK", "CONTAINER_KOLLA_UMASK"):
            self.assertIn("0077", self.run_script("kolla_start", {"command": "sh -c umask"}, **{name: "0077"}).stdout)

    def test_configuration_from_the_environment(self) -> None:
        done = self.run_script("kolla_start", "ignored", KOLLA_CONFIG=json.dumps({"command": "echo from-environment"}))
        self.assertIn("from-environment", done.stdout)
