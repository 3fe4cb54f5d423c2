"""The commands verify and sizes against a real registry with TLS and a password."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from tests.functional.registry.base import RegistryCase, make_image
from tests.unit.inspection.layers import GROUP, PASSWD, file, folder, layer, link
from topcoat.cli import main, root
from topcoat.registry import image_manifest
from topcoat.registry.oci import OCI_MANIFEST, digest_of

RECIPES = {
    "base.yaml": "base:\n  from: profile\n  internal: true\n  users: [kolla]\n",
    "users.yaml": "kolla: {uid: 42400}\nnova: {uid: 42436, home: /var/lib/nova, groups: [kolla]}\n",
    "openstack/nova.yaml": "nova-api:\n  from: base\n  users: [nova]\n  user: nova\n  entrypoint: [/usr/bin/nova-api]\n",
    "profiles/site.yaml": 'variables: {host: null}\ndistro: demo\nrelease: "9"\narch: x86_64\nregistry: "${host}"\nnamespace: n\n'
    'base: {image: "x.y/base:1"}\n',
}
BELOW = layer(folder("etc"), file("etc/passwd", PASSWD), file("etc/group", GROUP), link("bin", "usr/bin"), file("usr/bin/sh", "\x7fELF", mode=0o755))
ABOVE = layer(file("usr/bin/nova-api", "#!/bin/sh\n", mode=0o755))
LEFT = layer(file("var/cache/dnf/packages.solv", "x" * 5000), file("usr/bin/evil", mode=0o4755))


class Commands(RegistryCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.tree = cls.folder / "tree"
        for name, content in RECIPES.items():
            path = cls.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def push_image(self, name: str, tag: str, *layers: bytes, **config: object) -> None:
        labels = {f"io.topcoat.{key}": "x" for key in ("class", "fingerprint", "parent")}
        labels |= {"io.topcoat.image": name, "org.opencontainers.image.title": name}
        image, blobs = make_image(*layers, labels=labels)
        image.config["config"].update(config)
        manifest, document = image_manifest(image)
        client = self.client()
        for digest, data in {**blobs, digest_of(document): document}.items():
            client.put_blob(f"n/{name}", digest, data)
        client.put_manifest(f"n/{name}", tag, manifest, OCI_MANIFEST)

    def call(self, *words: str):  # type: ignore[no-untyped-def]
        access = ["--authfile", str(self.server.authfile), "--ca-file", str(self.server.ca_file)]
        options = ["--recipes", str(self.tree), "--profile", "site", "--set", f"host={self.server.host}", *access]
        return CliRunner().invoke(root, [*options, *words])

    def setUp(self) -> None:
        settings = {"Entrypoint": ["/usr/bin/nova-api"], "User": "nova"}
        self.push_image("base", "current-passed-ci", BELOW)
        self.push_image("nova-api", "current-passed-ci", BELOW, ABOVE, **settings)
        self.push_image("nova-api", "broken", BELOW, ABOVE, LEFT, **settings)

    def test_verify_by_recipe_and_by_reference(self) -> None:
        done = self.call("verify")
        self.assertEqual(done.exit_code, 0, done.output)
        self.assertIn("2 of 2 images keep the contract.", done.output)
        done = self.call("verify", f"{self.server.host}/n/nova-api:broken", "--format", "json")
        self.assertEqual(done.exit_code, 1)
        codes = {problem["code"] for problem in json.loads(done.output)["images"][0]["problems"]}
        self.assertEqual(codes, {"leftover", "setuid"})
        done = self.call("verify", "--tag", "broken", "^nova-api$", "--allow", "usr/bin/evil")
        self.assertIn("leftover: /var/cache/dnf/packages.solv", done.output)
        self.assertNotIn("setuid", done.output)

    def test_an_image_that_is_not_there_is_a_clear_error(self) -> None:
        for command in ("verify", "sizes"):
            done = self.call(command, "--tag", "none", "^nova-api$")
            self.assertIn("does not exist", str(done.exception))
            self.assertEqual(getattr(done.exception, "exit_code", None), 1)

    def test_sizes_against_the_reference_with_a_limit(self) -> None:
        done = self.call("sizes", "--tag", "broken", "^nova-api$", "--deep", "--format", "json")
        self.assertEqual(done.exit_code, 0, done.output)
        image = json.loads(done.output)["images"][0]
        self.assertEqual(image["total"], len(BELOW) + len(ABOVE) + len(LEFT))
        self.assertEqual(image["delta"], len(LEFT))
        done = self.call("sizes", "--tag", "broken", "^nova-api$", "--max-growth", "1%")
        self.assertEqual(done.exit_code, 1)
        self.assertIn("nova-api: grew by", done.output)
        done = self.call("sizes")
        self.assertEqual(done.exit_code, 0, done.output)
        self.assertIn("2 images", done.output)

    def test_the_console_command_turns_errors_into_exit_codes(self) -> None:
        with self.assertRaises(SystemExit) as caught:
            main(["--recipes", str(Path("/nowhere")), "verify"])
        self.assertEqual(caught.exception.code, 2)
