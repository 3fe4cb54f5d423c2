"""Each promise of an image, kept and broken."""

from __future__ import annotations

import unittest
from dataclasses import replace

from tests.unit.inspection.layers import GROUP, PASSWD, file, folder, link, listing
from topcoat.inspection import check, merge
from topcoat.model import Recipe
from topcoat.model.recipe import User

KOLLA = User("kolla", 42400, 42400)
NOVA = User("nova", 42436, 42436, "/var/lib/nova", groups=("kolla",))
BASE = Recipe("base", "base", "infra", None, users=(KOLLA,), internal=True)
RECIPE = Recipe("nova-api", "nova", "openstack", "base", users=(NOVA,), entrypoint=("/usr/bin/nova-api",), user="nova", stop_signal="SIGWINCH")
LABELS = {
    "io.topcoat.image": "nova-api",
    "io.topcoat.class": "openstack",
    "io.topcoat.fingerprint": "sha256:x",
    "io.topcoat.parent": "base",
    "org.opencontainers.image.title": "nova-api",
}
CONFIG = {"Labels": LABELS, "Entrypoint": ["/usr/bin/nova-api"], "User": "nova", "StopSignal": "SIGWINCH"}
FILES = (
    folder("etc"),
    file("etc/passwd", PASSWD),
    file("etc/group", GROUP),
    folder("tmp", mode=0o1777),
    folder("usr/bin"),
    link("bin", "usr/bin"),
    file("usr/bin/python3", "\x7fELF", mode=0o755),
    file("usr/bin/nova-api", "#!/bin/python3 -s\n", mode=0o755),
    file("usr/bin/sudo", "\x7fELF", mode=0o4111),
    file("var/lib/rpm/rpmdb.sqlite", "db"),
)


class Contract(unittest.TestCase):
    def found(self, *more: tuple[str, dict[str, object]], recipe: Recipe | None = RECIPE, allow: tuple[str, ...] = (), **config: object) -> list[str]:
        tree = merge([listing(*FILES), listing(*more)])
        problems = check(tree, {**CONFIG, **config}, recipe=recipe, ancestors=[BASE], allow=allow)
        return [f"{problem.code}: {problem.sentence}" for problem in problems]

    def test_an_image_that_keeps_every_promise(self) -> None:
        self.assertEqual(self.found(), [])

    def test_each_broken_promise_is_named(self) -> None:
        cases: tuple[tuple[str, tuple[tuple[str, dict[str, object]], ...], dict[str, object]], ...] = (
            ("label: label io.topcoat.fingerprint is missing", (), {"Labels": {k: v for k, v in LABELS.items() if "finger" not in k}}),
            ("label: label io.topcoat.image is 'other'", (), {"Labels": {**LABELS, "io.topcoat.image": "other"}}),
            ("entrypoint: entrypoint is ['/usr/bin/other']", (), {"Entrypoint": ["/usr/bin/other"]}),
            ("entrypoint: /usr/bin/other does not exist", (), {"Entrypoint": ["/usr/bin/other"]}),
            ("command: command is ['x']", (), {"Cmd": ["x"]}),
            ("user: user is 'root', the recipe says 'nova'", (), {"User": ""}),
            ("user: user 'nobody' does not exist", (), {"User": "nobody"}),
            ("stop-signal: stop signal is SIGTERM, the recipe says SIGWINCH", (), {"StopSignal": None}),
            ("entrypoint: /usr/bin/nova-api does not exist", (file("usr/bin/.wh.nova-api", ""),), {}),
            ("not executable for nova", (file("usr/bin/nova-api", mode=0o744),), {}),
            ("not executable for nova", (file("usr/bin/nova-api", mode=0o750, gid=5),), {}),
            ("cannot be reached by nova: /usr/bin", (folder("usr/bin", mode=0o700),), {}),
            ("wants the interpreter /usr/bin/python2", (file("usr/bin/nova-api", "#!/usr/bin/python2\n", mode=0o755),), {}),
            ("wants the interpreter /bin/python3", (file("usr/bin/.wh.python3", ""),), {}),
            ("is not a file", (folder("usr/bin/nova-api"),), {}),
            ("account: user nova should have ids 42436:42436, /etc/passwd has 5:5", (file("etc/passwd", PASSWD.replace("42436:42436", "5:5")),), {}),
            ("account: user kolla should have ids 42400:42400, /etc/passwd has no entry", (file("etc/passwd", PASSWD.replace("kolla", "x")),), {}),
            # The first entry of a name counts, short ones too, and only a line feed ends a line.
            ("/etc/passwd has 0:0", (file("etc/passwd", "nova:x:0:0::/:/bin/sh\n" + PASSWD),), {}),
            ("/etc/passwd has 0:", (file("etc/passwd", "nova:x:0\n" + PASSWD),), {}),
            (
                "user nova should have ids 42436:42436, /etc/passwd has no entry",
                (file("etc/passwd", PASSWD.replace("nova:x", "x:x:7:7:\x0cnova:x")),),
                {},
            ),
            ("user: user '²' does not exist", (), {"User": "²"}),
            ("user: user 'nova' does not exist", (file("etc/passwd", PASSWD.replace("42436:42436", "abc:42436")),), {}),
            ("account: user nova is not in the group kolla", (file("etc/group", GROUP.replace(":nova", ":")),), {}),
            ("account: group nova should have id 42436", (file("etc/group", GROUP.replace("nova:x:42436", "nova:x:1")),), {}),
            ("setuid: /usr/bin/evil is setuid", (file("usr/bin/evil", mode=0o4755),), {}),
            ("setuid: /opt/x is setgid", (file("opt/x", mode=0o2755),), {}),
            ("world-writable: /etc/x is writable for everybody", (file("etc/x", mode=0o666),), {}),
            ("world-writable: /srv is writable for everybody", (folder("srv", mode=0o777),), {}),
            ("leftover: /var/cache/dnf/x.solv", (file("var/cache/dnf/x.solv"),), {}),
            ("leftover: /var/log/dnf.log", (file("var/log/dnf.log"),), {}),
            ("leftover: /var/lib/dnf/history.sqlite", (file("var/lib/dnf/history.sqlite"),), {}),
            ("leftover: /var/lib/rpm/rpmdb.sqlite-wal", (file("var/lib/rpm/rpmdb.sqlite-wal"),), {}),
            ("leftover: /tmp/x", (file("tmp/x"),), {}),
            ("start-script: /usr/local/bin/kolla_start is baked in", (file("usr/local/bin/kolla_start", mode=0o755),), {}),
        )
        for words, more, config in cases:
            with self.subTest(words):
                self.assertIn(words, "\n".join(self.found(*more, **config)))

    def test_what_is_allowed(self) -> None:
        more = (file("usr/bin/own", mode=0o4755), folder("var/tmp", mode=0o1777), folder("run/lock", mode=0o777), link("var/run", "/run"))
        self.assertEqual(self.found(*more, allow=("usr/bin/ow?",)), [])

    def test_what_a_package_brought_is_no_leftover_and_is_asked_for_only_where_something_looks_like_one(self) -> None:
        asked: list[frozenset[str]] = []

        def owned(names: frozenset[str]) -> list[str]:
            asked.append(names)
            return ["/var/scratch/a", "/tmp/c"]

        tree = merge([listing(*FILES), listing(folder("var/tmp", mode=0o1777), link("var/scratch", "tmp"), file("var/tmp/a"), file("tmp/a"))])
        self.assertEqual(["/tmp/a was left behind by the build"], [problem.sentence for problem in check(tree, {}, recipe=None, owned=owned)])
        self.assertEqual([frozenset({"a"})], asked)
        lock = merge([listing(*FILES), listing(file("var/lib/rpm/.rpm.lock"))])
        self.assertEqual(1, len(check(lock, {}, recipe=None, owned=lambda names: ["/var/lib/rpm/.rpm.lock"])))
        self.assertEqual([], check(merge([listing(*FILES)]), {}, recipe=None, owned=owned))
        self.assertEqual(1, len(asked))

    def test_an_image_without_a_recipe_is_checked_for_what_holds_for_all(self) -> None:
        self.assertEqual(self.found(recipe=None, Labels={}, User="x"), [])
        self.assertEqual(len(self.found(file("tmp/x"), recipe=None)), 1)

    def test_settings_are_inherited_from_recipes_above(self) -> None:
        child = replace(RECIPE, name="nova-api", entrypoint=None, stop_signal=None, users=())
        tree = merge([listing(*FILES)])
        self.assertEqual(check(tree, CONFIG, recipe=child, ancestors=[RECIPE, BASE]), [])

    def test_what_no_recipe_says_is_the_business_of_the_base_image(self) -> None:
        tree = merge([listing(*FILES)])
        labels = {**LABELS, "io.topcoat.image": "base"}
        self.assertEqual(check(tree, {"Labels": labels, "Cmd": ["/bin/bash"]}, recipe=BASE), [])

    def test_a_deployed_image_starts_something(self) -> None:
        silent = replace(RECIPE, entrypoint=None)
        self.assertIn("nothing is started", "\n".join(self.found(recipe=silent, Entrypoint=None)))

    def test_groups_give_the_right_to_execute(self) -> None:
        self.assertEqual(self.found(file("usr/bin/nova-api", mode=0o750, gid=42400)), [])
