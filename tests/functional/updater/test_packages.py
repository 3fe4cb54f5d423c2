"""What package transactions must do to images, each case against real rpm, dnf and a real registry."""

import base64
import os
import shutil
import sqlite3
import subprocess
import tarfile
import unittest
from pathlib import Path

from tests.functional.updater.world import WorldCase, members, rpm
from topcoat.errors import ContentError
from topcoat.model import Repository
from topcoat_demo._header import with_tags
from topcoat_demo.rpms import EPOCH, File, RpmSpec, Trigger, build_rpm, config, directory, ghost, make_repository, script, symlink

LIB = RpmSpec("python3-lib", "1.0", files=(directory("/usr/lib/lib"), File("/usr/lib/lib/a.py", "one\n"), File("/usr/lib/lib/b.py", "same\n")))
LIB2 = LIB.bump(version="2.0", files=(directory("/usr/lib/lib"), File("/usr/lib/lib/a.py", "two\n"), File("/usr/lib/lib/b.py", "same\n")))
SERVICE = RpmSpec("openstack-svc", "1.0", requires=("python3-lib",), files=(script("/usr/bin/svc", "echo svc 1.0"),))

PRETRANSPROG = 1153
REPLACED = """
path = "/opt/kept"
st = posix.stat(path)
if st and st.type == "directory" then
  status = os.rename(path, path .. ".rpmmoved")
  if not status then
    suffix = 0
    while not status do
      suffix = suffix + 1
      status = os.rename(path .. ".rpmmoved", path .. ".rpmmoved." .. suffix)
    end
    os.rename(path, path .. ".rpmmoved")
  end
end
"""


class Updates(WorldCase):
    def test_one_layer_with_only_what_changed_and_the_configuration_kept(self) -> None:
        runtime = {"User": "42436:42436", "Entrypoint": ["/usr/bin/svc"], "Env": ["A=1"], "WorkingDir": "/tmp", "Labels": {"x": "y"}}
        base = self.world.base("updates/plain", [LIB, SERVICE], config=runtime)
        with self.world.updated(base, self.world.repository("current", [LIB2])) as (built, root):
            self.assertEqual([str(change) for change in built.changes], ["python3-lib 1.0-1.el9 -> 2.0-1.el9"])
            self.assertEqual(built.changes[0].repository, "current")
            self.assertEqual(rpm(root, "-q", "python3-lib"), "python3-lib-2.0-1.el9.noarch\n")
            self.assertEqual((root / "usr/lib/lib/a.py").read_text(), "two\n")
            self.assertEqual(built.inventory.nevras, {change.new for change in built.changes} | (base.inventory.nevras - {built.changes[0].old}))
            expected = runtime | {"Labels": {"x": "y", "io.topcoat.update-base": base.digest}}
            self.assertEqual(built.image.config["config"], expected)
            self.assertEqual(built.image.layers[:-2], base.image.layers)
            files = []
            for layer in built.layers:
                with tarfile.open(layer.path) as archive:
                    files.append([member.name for member in archive if not member.isdir()])
            self.assertEqual(files, [["usr/lib/lib/a.py"], ["var/lib/rpm/rpmdb.sqlite"]], "the package database is the last layer")

    def test_foreign_tools_accept_the_image(self) -> None:
        base = self.world.base("updates/foreign", [LIB, SERVICE])
        built = self.world.update(base, self.world.repository("current", [LIB2]))
        digest = self.world.publish(built, "updates/foreign")
        target = self.world.path("oci")
        access = [f"--src-authfile={self.world.server.authfile}", *self.world.server.skopeo_options("src")]
        subprocess.run(["skopeo", "copy", "-q", *access, f"docker://{self.world.server.host}/updates/foreign@{digest}", f"dir:{target}"], check=True)
        root = self.world.path("tree")
        root.mkdir()
        for layer in built.image.layers:
            subprocess.run(["tar", "-C", root, "-xzf", target / layer.digest.removeprefix("sha256:")], check=True)
        self.assertEqual((root / "usr/lib/lib/a.py").read_text(), "two\n")

    def test_epoch_beats_version(self) -> None:
        base = self.world.base("updates/epoch", [LIB.bump(version="9.0"), SERVICE])
        with self.world.updated(base, self.world.repository("current", [LIB2.bump(epoch=1)])) as (built, root):
            self.assertEqual(rpm(root, "-q", "--qf", "%{epoch}:%{version}", "python3-lib"), "1:2.0")
            self.assertEqual(str(built.changes[0]), "python3-lib 9.0-1.el9 -> 1:2.0-1.el9")

    def test_installed_newer_than_the_repository_stays(self) -> None:
        base = self.world.base("updates/newer", [LIB2, SERVICE])
        built = self.world.update(base, self.world.repository("current", [LIB]))
        self.assertEqual((built.layers, built.changes, built.image), ((), (), base.image))

    def test_two_builds_in_one_repository_the_newer_wins(self) -> None:
        base = self.world.base("updates/two", [LIB, SERVICE])
        with self.world.updated(base, self.world.repository("current", [LIB2, LIB2.bump(release="10.el9"), LIB2.bump(release="9.el9")])) as (_, root):
            self.assertEqual(rpm(root, "-q", "python3-lib"), "python3-lib-2.0-10.el9.noarch\n")

    def test_better_priority_with_an_older_build_hides_the_newer_one(self) -> None:
        base = self.world.base("updates/priority", [LIB, SERVICE])
        near = self.world.repository("near", [LIB2], priority=1)
        far = self.world.repository("far", [LIB2.bump(version="3.0")], priority=50)
        with self.world.updated(base, near, far) as (_, root):
            self.assertEqual(rpm(root, "-q", "python3-lib"), "python3-lib-2.0-1.el9.noarch\n")

    def test_gated_downgrade_is_exact(self) -> None:
        base = self.world.base("updates/gated", [LIB2, SERVICE])
        gating = self.world.repository("gating", [LIB.bump(release="0.gate.el9")], priority=1, gated=True)
        current = self.world.repository("current", [LIB2.bump(version="7.0")])
        with self.world.updated(base, gating, current) as (built, root):
            self.assertEqual(rpm(root, "-q", "python3-lib"), "python3-lib-1.0-0.gate.el9.noarch\n")
            self.assertEqual(built.changes[0].repository, "gating")
            self.assertEqual((root / "usr/lib/lib/a.py").read_text(), "one\n")

    def test_a_requirement_under_test_comes_from_the_gating_repository_although_another_is_newer(self) -> None:
        base = self.world.base("updates/gated-requirement", [LIB, SERVICE])
        needed = RpmSpec("python3-dep", "1.0", files=(File("/usr/lib/dep.py", "gated"),))
        newer = needed.bump(version="9.0", files=(File("/usr/lib/dep.py", "current"),))
        gating = self.world.repository("gating", [LIB2.bump(requires=("python3-dep",)), needed], priority=50, gated=True)
        with self.world.updated(base, gating, self.world.repository("current", [newer], priority=50)) as (built, root):
            self.assertEqual((root / "usr/lib/dep.py").read_text(), "gated")
            self.assertEqual({change.repository for change in built.changes}, {"gating"})

    def test_gated_rebuild_of_the_same_version_replaces_the_build(self) -> None:
        base = self.world.base("updates/rebuilt", [LIB, SERVICE])
        other = LIB.bump(files=(directory("/usr/lib/lib"), File("/usr/lib/lib/a.py", "other\n")), time=LIB.time + 5)
        with self.world.updated(base, self.world.repository("gating", [other], gated=True)) as (built, root):
            self.assertEqual((root / "usr/lib/lib/a.py").read_text(), "other\n")
            self.assertFalse((root / "usr/lib/lib/b.py").exists())
            self.assertEqual(built.changes[0].old, built.changes[0].new)

    def test_new_requirement_comes_from_another_repository(self) -> None:
        base = self.world.base("updates/requirement", [LIB, SERVICE])
        current = self.world.repository("current", [LIB2.bump(requires=("python3-new",))])
        extra = self.world.repository("base", [RpmSpec("python3-new", "1", files=(File("/usr/lib/new.py", "n"),))], updates=False)
        with self.world.updated(base, current, extra) as (built, root):
            self.assertEqual([change.name for change in built.changes], ["python3-lib", "python3-new"])
            self.assertTrue((root / "usr/lib/new.py").exists())

    def test_a_module_stream_that_is_not_enabled_is_not_taken(self) -> None:
        base = self.world.base("updates/modules", [LIB, SERVICE])
        modular = LIB2.bump(version="5.0", release="1.module_el9", module="lib:5:1:abcd")
        document = (
            "---\ndocument: modulemd\nversion: 2\ndata:\n  name: lib\n  stream: '5'\n  version: 1\n  context: abcd\n  arch: x86_64\n"
            "  summary: s\n  description: d\n  license: {module: [MIT]}\n"
            "  artifacts:\n    rpms:\n    - python3-lib-0:5.0-1.module_el9.noarch\n...\n"
        )
        folder = make_repository(self.world.path("modular"), [LIB2, modular], modules=document)
        with self.world.updated(base, Repository("current", folder.as_uri())) as (_, root):
            self.assertEqual(rpm(root, "-q", "python3-lib"), "python3-lib-2.0-1.el9.noarch\n")

    def test_a_modular_package_whose_stream_nobody_describes_is_refused_as_by_dnf(self) -> None:
        base = self.world.base("updates/modules", [LIB, SERVICE])
        modular = LIB2.bump(version="5.0", module="lib:5:1:abcd")
        with self.assertRaisesRegex(ContentError, "python3-lib-0:5.0-1.el9.noarch belongs to the module lib:5:1:abcd, and no repository describes"):
            self.world.update(base, self.world.repository("current", [modular]))
        hotfix = self.world.repository("gating", [modular], gated=True, module_hotfixes=True)
        with self.world.updated(base, hotfix) as (_, root):
            self.assertEqual(rpm(root, "-q", "--qf", "%{version} %{modularitylabel}", "python3-lib"), "5.0 lib:5:1:abcd")

    def test_obsoleted_package_leaves_whiteouts(self) -> None:
        old = RpmSpec("python3-old", "1", files=(directory("/usr/lib/old"), File("/usr/lib/old/a.py", "a"), File("/usr/lib/lone.py", "l")))
        base = self.world.base("updates/obsoletes", [old, LIB, SERVICE])
        successor = RpmSpec(
            "python3-next", "2", obsoletes=("python3-old < 2",), provides=("python3-old = 2",), files=(File("/usr/lib/next.py", "n"),)
        )
        with self.world.updated(base, self.world.repository("current", [successor])) as (built, root):
            self.assertEqual({change.key for change in built.changes}, {("python3-old-1-1.el9.noarch", ""), ("", "python3-next-2-1.el9.noarch")})
            self.assertFalse((root / "usr/lib/old").exists())
            self.assertFalse((root / "usr/lib/lone.py").exists())
            self.assertLessEqual({"usr/lib/.wh.old", "usr/lib/.wh.lone.py"}, set(members(built)))

    def test_files_and_directories_that_change_their_kind(self) -> None:
        first = RpmSpec(
            "kinds", "1", files=(File("/usr/lib/k/file-to-link", "x"), symlink("/usr/lib/k/link-to-file", "nowhere"), directory("/usr/lib/k"))
        )
        second = first.bump(
            version="2", files=(symlink("/usr/lib/k/file-to-link", "target"), File("/usr/lib/k/link-to-file", "y"), directory("/usr/lib/k"))
        )
        base = self.world.base("updates/kinds", [first])
        with self.world.updated(base, self.world.repository("current", [second])) as (_, root):
            self.assertEqual(os.readlink(root / "usr/lib/k/file-to-link"), "target")
            self.assertEqual((root / "usr/lib/k/link-to-file").read_text(), "y")

    def test_a_directory_that_a_link_replaces(self) -> None:
        """With the scriptlet of Fedora's packaging guidelines, which tries until the directory has another name."""
        old = (
            directory("/opt/kept"),
            File("/opt/kept/one", "1", mode=0o755, hardlink="g"),
            File("/opt/kept/deep/two", "1", mode=0o755, hardlink="g"),
            File("/opt/kept/capable", "c", caps="cap_net_raw=ep"),
            symlink("/opt/kept/link", "one"),
        )
        root = self.world.root([RpmSpec("kinds", "1", files=old)])
        (root / "opt/kept/mine").write_text("of nobody")
        os.utime(root / "opt/kept/mine", (5, 5))
        for name, mode in (("kept", 0o2750), ("kept/one", 0o4755)):
            os.chown(root / "opt" / name, 1, 4)
            (root / "opt" / name).chmod(mode)
        base = self.world.publish_root(root, "updates/replaced")
        new = RpmSpec("kinds", "2", files=(symlink("/opt/kept", "real"), File("/opt/real/one", "2")), pretrans=REPLACED)
        package = self.world.path("new.rpm")
        package.write_bytes(with_tags(build_rpm(new), {PRETRANSPROG: "<lua>"}))
        folder = make_repository(self.world.path("replacing"), [package])
        with self.world.updated(base, Repository("current", folder.as_uri())) as (built, tree):
            self.assertEqual((tree / "opt/kept").readlink(), Path("real"))
            self.assertEqual((tree / "opt/kept/one").read_text(), "2")
            self.assertEqual(sorted(os.listdir(tree / "opt/kept.rpmmoved")), ["capable", "deep", "link", "mine", "one"])
            moved, mine = tree / "opt/kept.rpmmoved", tree / "opt/kept.rpmmoved/mine"
            self.assertEqual((oct(moved.stat().st_mode), moved.stat().st_gid), ("0o42750", 4))
            self.assertEqual((mine.read_text(), mine.stat().st_mtime), ("of nobody", 5))
            one, two = (moved / name for name in ("one", "deep/two"))
            self.assertEqual((oct(one.stat().st_mode), one.stat().st_uid, one.stat().st_mtime), ("0o104755", 1, EPOCH))
            self.assertTrue(one.samefile(two))
            self.assertEqual(os.listxattr(moved / "capable"), ["security.capability"])
            self.assertEqual((moved / "link").readlink(), Path("one"))
        self.assertFalse([member.pax_headers for member in members(built).values() if "overlay" in str(member.pax_headers)])


class Files(WorldCase):
    def test_configuration_changed_in_the_image(self) -> None:
        package = RpmSpec("confs", "1", files=(config("/etc/keep.conf", "v1\n"), config("/etc/replace.conf", "v1\n", noreplace=False)))
        root = self.world.root([package])
        for name in ("keep", "replace"):
            (root / f"etc/{name}.conf").write_text("mine\n")
        base = self.world.publish_root(root, "files/config")
        newer = package.bump(version="2", files=(config("/etc/keep.conf", "v2\n"), config("/etc/replace.conf", "v2\n", noreplace=False)))
        with self.world.updated(base, self.world.repository("current", [newer])) as (_, tree):
            texts = {path.name: path.read_text() for path in (tree / "etc").glob("*.conf*") if path.name.startswith(("keep", "replace"))}
            expected = {"keep.conf": "mine\n", "keep.conf.rpmnew": "v2\n", "replace.conf": "v2\n", "replace.conf.rpmsave": "mine\n"}
            self.assertEqual(texts, expected)

    def test_capabilities_modes_owners_and_hard_links(self) -> None:
        def package(version: str) -> RpmSpec:
            files = (
                File("/usr/bin/cap", f"c{version}", mode=0o755, caps="cap_net_bind_service=ep"),
                File("/usr/bin/suid", f"s{version}", mode=0o4711),
                File("/usr/bin/one", f"h{version}", hardlink="g"),
                File("/usr/bin/two", f"h{version}", hardlink="g"),
                directory("/var/lib/svc", user="svc", group="svc", mode=0o2750),
                File("/var/lib/svc/data", version, user="svc", group="svc", mode=0o600),
            )
            return RpmSpec("special", version, files=files)

        root = self.world.root([package("1")])
        for name, line in (("passwd", "svc:x:4711:4712::/:/sbin/nologin\n"), ("group", "svc:x:4712:\n")):
            with (root / "etc" / name).open("a") as stream:
                stream.write(line)
        for path in ("var/lib/svc", "var/lib/svc/data"):
            os.chown(root / path, 4711, 4712)
        (root / "var/lib/svc").chmod(0o2750)
        base = self.world.publish_root(root, "files/special")
        with self.world.updated(base, self.world.repository("current", [package("2")])) as (built, tree):
            self.assertEqual(len(os.getxattr(tree / "usr/bin/cap", "security.capability")), 20)
            self.assertEqual((tree / "usr/bin/suid").stat().st_mode & 0o7777, 0o4711)
            self.assertEqual(members(built)["usr/bin/two"].linkname, "usr/bin/one")
            self.assertEqual((tree / "usr/bin/one").read_text(), "h2")
            self.assertEqual((tree / "usr/bin/two").read_text(), "h2")
            data = (tree / "var/lib/svc/data").stat()
            self.assertEqual((data.st_uid, data.st_gid, data.st_mode & 0o7777), (4711, 4712, 0o600))
            self.assertEqual((tree / "var/lib/svc").stat().st_mode & 0o7777, 0o2750)

    def test_documentation_stays_out_and_ghosts_are_not_files(self) -> None:
        package = LIB2.bump(files=(File("/usr/share/doc/lib/README", "r", doc=True), ghost("/var/log/lib.log"), File("/usr/lib/lib/a.py", "two\n")))
        base = self.world.base("files/docs", [LIB])
        with self.world.updated(base, self.world.repository("current", [package])) as (_, tree):
            self.assertFalse((tree / "usr/share/doc/lib/README").exists())
            self.assertFalse((tree / "var/log/lib.log").exists())


class Scriptlets(WorldCase):
    def test_they_run_inside_with_devices_and_leave_nothing_else(self) -> None:
        body = "set -e; test -c /dev/null; echo lost > /dev/null; read x < /proc/self/stat; touch /tmp/junk /run/junk; "
        body += "echo $1 > /var/lib/ran; echo said-hello"
        base = self.world.base("scriptlets/run", [LIB])
        with self.world.updated(base, self.world.repository("current", [LIB2.bump(post=body)])) as (built, root):
            self.assertEqual((root / "var/lib/ran").read_text(), "2\n")
            self.assertNotIn("said-hello", (root / "var/lib/ran").read_text())
            strangers = [name for name in members(built) if name.startswith(("dev/", "proc/", "tmp/", "run/"))]
            self.assertEqual(strangers, [])
        self.assertIn("said-hello", self.world.log.read_text())

    def test_triggers_of_other_packages_run(self) -> None:
        watcher = RpmSpec(
            "watcher",
            "1",
            files=(directory("/usr/lib/watched"),),
            triggers=(
                Trigger("triggerin", "python3-lib", "echo in > /var/lib/triggerin"),
                Trigger("transfiletriggerin", "/usr/lib/lib", "cat > /var/lib/filetrigger"),
            ),
        )
        base = self.world.base("scriptlets/triggers", [LIB, watcher])
        with self.world.updated(base, self.world.repository("current", [LIB2])) as (_, root):
            self.assertEqual((root / "var/lib/triggerin").read_text(), "in\n")
            self.assertIn("/usr/lib/lib/a.py", (root / "var/lib/filetrigger").read_text())

    def test_a_failing_trigger_is_named(self) -> None:
        for kind, target in (("triggerin", "python3-lib"), ("filetriggerin", "/usr/lib/lib")):
            with self.subTest(kind):
                watcher = RpmSpec(
                    "watcher", "1", files=(directory("/usr/lib/watched"),), triggers=(Trigger(kind, target, "test ! -e /var/lib/armed"),)
                )
                base = self.world.base(f"scriptlets/fail-{kind}", [LIB, watcher])
                armed = LIB2.bump(pre="touch /var/lib/armed")
                with self.assertRaises(ContentError) as caught:
                    self.world.update(base, self.world.repository("current", [armed]))
                self.assertIn(f"scriptlet {kind.removeprefix('file')} of ", caught.exception.what)

    def test_a_failing_scriptlet_fails_the_update(self) -> None:
        for kind in ("pre", "post", "posttrans"):
            with self.subTest(kind):
                base = self.world.base(f"scriptlets/fail-{kind}", [LIB])
                with self.assertRaises(ContentError) as caught:
                    self.world.update(base, self.world.repository("current", [LIB2.bump(**{kind: "echo why; exit 3"})]))
                self.assertIn("scriptlet", str(caught.exception))
                self.assertIn("python3-lib", str(caught.exception))
                self.assertIn("why", self.world.log.read_text())

    def test_a_failing_scriptlet_of_the_removed_build_fails_too(self) -> None:
        base = self.world.base("scriptlets/fail-postun", [LIB.bump(postun="exit 1")])
        with self.assertRaises(ContentError):
            self.world.update(base, self.world.repository("current", [LIB2]))

    def test_accounts_that_a_package_makes_are_there_or_it_is_refused(self) -> None:
        """rpm makes them from 4.19 on; an older one on the host warned, and gave the files to root."""
        line = base64.b64encode(b"u keeper - - - -").decode()
        files = (File("/usr/lib/lib/kept", "k", user="keeper", group="keeper"),)
        current = self.world.repository("current", [LIB2.bump(files=files, provides=(f"user(keeper) = {line}", f"group(keeper) = {line}"))])
        try:
            with self.world.updated(self.world.base("accounts/made", [LIB]), current) as (_, root):
                self.assertIn("keeper:", (root / "etc/passwd").read_text())
                self.assertNotEqual((root / "usr/lib/lib/kept").stat().st_uid, 0)
        except ContentError as refused:
            self.assertRegex(refused.what, r"python3-lib-0:2.0-1.el9.noarch makes the (user|group) keeper, and rpm \S+ of this host does not")

    def test_accounts_that_a_package_puts_into_a_group_are_in_it_or_it_is_refused(self) -> None:
        base = self.world.base("accounts/members", [LIB])
        members = {name: base64.b64encode(f"m {name} adm".encode()).decode() for name in ("daemon", "mail")}
        (base.root / "etc/group").write_text((base.root / "etc/group").read_text().replace("adm:x:4:", "adm:x:4:nobody,daemon"))
        base = self.world.publish_root(base.root, "accounts/members")
        there = self.world.repository("there", [LIB2.bump(provides=(f"groupmember(daemon/adm) = {members['daemon']}",))])
        with self.world.updated(base, there) as (built, _):
            self.assertEqual([change.name for change in built.changes], ["python3-lib"])
        not_there = self.world.repository("absent", [LIB2.bump(provides=(f"groupmember(mail/adm) = {members['mail']}",))])
        try:
            with self.world.updated(base, not_there) as (_, root):
                self.assertIn(",mail", (root / "etc/group").read_text())
        except ContentError as refused:
            self.assertRegex(refused.what, r"python3-lib-0:2.0-1.el9.noarch puts mail into the group adm, and rpm \S+ of this host does not")

    def test_accounts_that_no_rpm_of_the_image_would_make_are_left_as_they_are(self) -> None:
        line = base64.b64encode(b"u keeper - - - -").decode()
        base = self.world.base("accounts/old", [LIB, RpmSpec("rpm", "4.16.1.3")])
        current = self.world.repository("current", [LIB2.bump(provides=("user(nobody-makes-it)", f"user(keeper) = {line}"))])
        with self.world.updated(base, current) as (built, _):
            self.assertEqual([change.name for change in built.changes], ["python3-lib"])

    def test_no_network_and_no_time_of_the_day_in_the_result(self) -> None:
        body = "ls /sys/class/net 2>/dev/null > /var/lib/net; cat /proc/net/dev > /var/lib/dev; echo x > /var/lib/made"
        base = self.world.base("scriptlets/network", [LIB])
        with self.world.updated(base, self.world.repository("current", [LIB2.bump(post=body)])) as (built, root):
            self.assertNotIn("eth", (root / "var/lib/dev").read_text())
            self.assertEqual({int(member.mtime) > LIB.time for member in members(built).values()}, {False})


class Databases(WorldCase):
    def test_both_places(self) -> None:
        for number, place in enumerate(("/var/lib/rpm", "/usr/lib/sysimage/rpm")):
            with self.subTest(place):
                base = self.world.base(f"databases/{number}", [LIB], database=place)
                with self.world.updated(base, self.world.repository("current", [LIB2])) as (built, root):
                    self.assertEqual(rpm(root, "-q", "python3-lib", database=place), "python3-lib-2.0-1.el9.noarch\n")
                    self.assertIn(f"{place[1:]}/rpmdb.sqlite", members(built))

    def test_write_ahead_log_left_in_the_image(self) -> None:
        root = self.world.root([LIB])
        database = root / "var/lib/rpm"
        reader = sqlite3.connect(database / "rpmdb.sqlite")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM Packages").fetchall()
        rpm(root, "-i", "--nosignature", *map(str, self._rpms(SERVICE)))
        kept = self.world.path("kept")
        shutil.copytree(database, kept)
        reader.close()
        shutil.rmtree(database)
        shutil.copytree(kept, database)
        self.assertTrue((database / "rpmdb.sqlite-wal").stat().st_size)
        base = self.world.publish_root(root, "databases/wal")
        self.assertIn("openstack-svc", {nevra.name for nevra in base.inventory.nevras})
        with self.world.updated(base, self.world.repository("current", [LIB2])) as (built, tree):
            self.assertEqual(rpm(tree, "-qa", "--qf", "%{name} %{version}\n", "python3-lib", "openstack-svc"), "openstack-svc 1.0\npython3-lib 2.0\n")
            self.assertLessEqual({"var/lib/rpm/.wh.rpmdb.sqlite-wal", "var/lib/rpm/.wh.rpmdb.sqlite-shm"}, set(members(built)))
            self.assertNotIn("var/lib/rpm/rpmdb.sqlite-wal", members(built))

    def _rpms(self, *specs: RpmSpec) -> list:
        return sorted(make_repository(self.world.path("rpms"), specs).glob("*.rpm"))

    def test_a_database_that_rpm_cannot_write_is_one_clear_error(self) -> None:
        base = self.world.base("databases/old", [LIB])
        (base.root / "var/lib/rpm/rpmdb.sqlite").rename(base.root / "var/lib/rpm/Packages")
        base = self.world.publish_root(base.root, "databases/old", packages=base.inventory)
        with self.assertRaises(ContentError) as caught:
            self.world.update(base, self.world.repository("current", [LIB2]))
        self.assertIn("/var/lib/rpm/Packages", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
