"""Configurations that we put together, and what buildah's words mean."""

import json
import unittest
from pathlib import Path

from topcoat.builder.buildah import _classified
from topcoat.builder.configuration import compose
from topcoat.builder.direct import _accounts, _copies, refusal, runtime_of
from topcoat.errors import ContentError, InfrastructureError
from topcoat.layers import Layer, LowerView
from topcoat.model import Base, CopyFile, Profile, Recipe, Step
from topcoat.model.recipe import User
from topcoat.registry.oci import DOCKER_MANIFEST, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Image, image_manifest

PROFILE = Profile("p", "demo", "9", "x86_64", Base("h/x"), (), "h", "n")
PARENT = Image(
    {
        "created": "2025-01-01T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "A=1"], "Labels": {"old": "1"}, "Cmd": ["/bin/sh"], "Volumes": {"/a": {}}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]},
        "history": [{"created_by": "x"}],
    },
    (Descriptor("t", "sha256:" + "2" * 64, 5),),
)
LAYER = Layer(Path("/x"), Descriptor(OCI_LAYER_GZIP, "sha256:" + "3" * 64, 7), "sha256:" + "4" * 64, 1)


def recipe(**fields) -> Recipe:
    return Recipe(**({"name": "svc", "family": "svc", "image_class": "openstack", "parent": None} | fields))


class Compose(unittest.TestCase):
    def test_one_more_layer_and_only_what_a_runtime_reads(self) -> None:
        runtime = {"Env": ["A=1"], "Hostname": "5f2b", "Image": "sha256:x", "OnBuild": [], "Cmd": None, "User": "svc", "ArgsEscaped": True}
        image = compose(PARENT, runtime, [LAYER], epoch=1735689601, created_by="topcoat build svc")
        self.assertEqual(image.config["config"], {"Env": ["A=1"], "User": "svc"})
        self.assertEqual(image.config["created"], "2025-01-01T00:00:01Z")
        self.assertEqual(image.diff_ids, (*PARENT.diff_ids, LAYER.diff_id))
        self.assertEqual(image.layers[-1], LAYER.descriptor)
        self.assertEqual(len(PARENT.layers), 1, "the parent is not changed")
        self.assertEqual(image_manifest(image), image_manifest(compose(PARENT, runtime, [LAYER], epoch=1735689601, created_by="topcoat build svc")))

    def test_a_health_check_chooses_the_format_that_carries_it(self) -> None:
        check = {"Healthcheck": {"Test": ["CMD", "/bin/true"]}}
        for wanted, runtime, expected in (
            ("auto", {}, OCI_MANIFEST),
            ("auto", check, DOCKER_MANIFEST),
            ("docker", {}, DOCKER_MANIFEST),
            ("docker", check, DOCKER_MANIFEST),
            ("oci", {}, OCI_MANIFEST),
            ("oci", {"Healthcheck": {"Test": ["NONE"]}}, OCI_MANIFEST),
        ):
            with self.subTest(wanted=wanted, runtime=runtime):
                image = compose(PARENT, runtime, [LAYER], epoch=0, created_by="b", image_format=wanted)
                self.assertEqual(image.media_type, expected)
                self.assertEqual(json.loads(image_manifest(image)[0])["mediaType"], expected)
        with self.assertRaisesRegex(ContentError, "carries no health check.*-> use image_format"):
            compose(PARENT, check, [LAYER], epoch=0, created_by="b", image_format="oci")

    def test_no_layer_is_an_empty_history_entry(self) -> None:
        image = compose(PARENT, {}, [], epoch=0, created_by="b")
        self.assertEqual(image.layers, PARENT.layers)
        self.assertTrue(image.config["history"][-1]["empty_layer"])


class Direct(unittest.TestCase):
    def test_instructions_as_buildah_carries_them_out(self) -> None:
        runtime = runtime_of(
            recipe(
                environment=(("A", "2"), ("B", "3")),
                ports=("80", "53/udp"),
                volumes=("/b",),
                entrypoint=("/usr/bin/svc",),
                healthcheck=("/bin/true",),
                workdir="/w",
                user="svc",
                stop_signal="SIGINT",
                labels=(("own", "1"),),
            ),
            PARENT,
            {"given": "2"},
        )
        self.assertEqual(runtime["Env"], ["PATH=/bin", "A=2", "B=3"])
        self.assertEqual(runtime["ExposedPorts"], {"80/tcp": {}, "53/udp": {}})
        self.assertEqual(runtime["Volumes"], {"/a": {}, "/b": {}})
        self.assertEqual((runtime["Entrypoint"], runtime["Cmd"]), (["/usr/bin/svc"], []))
        self.assertLessEqual({"old": "1", "own": "1", "given": "2", "io.topcoat.image": "svc"}.items(), runtime["Labels"].items())
        self.assertEqual(PARENT.config["config"]["Env"], ["PATH=/bin", "A=1"])

    def test_without_entrypoint_the_parents_words_stay(self) -> None:
        self.assertEqual(runtime_of(recipe(), PARENT, {})["Cmd"], ["/bin/sh"])
        self.assertEqual(runtime_of(recipe(command=("x",)), PARENT, {})["Cmd"], ["x"])

    def test_what_is_not_fully_understood_is_refused(self) -> None:
        self.assertIsNone(refusal(recipe(), PROFILE))
        for odd in (recipe(steps=(Step("x"),)), recipe(modules=("a:1",)), recipe(containerfile="FROM x")):
            self.assertTrue(refusal(odd, PROFILE))
        for options in ((), ("--nodocs",), ("--setopt=install_weak_deps=False",), ("--setopt=install_weak_deps=False", "--nodocs", "--nobest")):
            profile = Profile("p", "demo", "9", "x86_64", Base("h/x"), (), "h", "n", install_options=options)
            self.assertTrue(refusal(recipe(), profile), options)

    def test_accounts_only_where_something_changes(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            etc = Path(folder) / "etc"
            etc.mkdir()
            (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
            (etc / "group").write_text("root:x:0:\n")
            view = LowerView([Path(folder)])
            written = _accounts(recipe(users=(User("svc", 7, 8),)), view)
            self.assertEqual([entry["path"] for entry in written], ["/etc/group", "/etc/passwd"])
            self.assertIn("svc:x:7:8:", written[1]["text"])
            self.assertEqual(_accounts(recipe(), view), [])
            (etc / "passwd").unlink()
            (etc / "passwd").symlink_to("/etc/passwd")
            with self.assertRaises(ContentError):
                _accounts(recipe(users=(User("svc", 7, 8),)), LowerView([Path(folder)]))

    def test_targets_of_copies(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder)
            (tree / "d/sub/deep").mkdir(parents=True)
            (tree / "d/sub/deep/f").write_text("x")
            (tree / "one").write_text("x")
            copies = (CopyFile(tree / "d", "/etc/svc"), CopyFile(tree / "one", "/opt/"), CopyFile(tree / "one", "/opt/two", mode=0o600, owner="svc"))
            found = _copies(recipe(copies=copies))
            self.assertEqual([entry["path"] for entry in found["copies"]], ["/etc/svc/sub/deep/f", "/opt/one", "/opt/two"])
            self.assertEqual([(entry["mode"], entry["owner"]) for entry in found["copies"]], [(0o644, None), (0o644, None), (0o600, "svc")])
            self.assertEqual([entry["path"] for entry in found["folders"]], ["/etc/svc/sub/deep", "/etc/svc/sub"])


class Words(unittest.TestCase):
    def classify(self, text: str):
        return _classified(ContentError(f"buildah ended with code 1; its last lines: {text}", image="i", log="l"))

    def test_a_failed_step_is_the_recipes_fault(self) -> None:
        failed = 'no such package\nsubprocess exited with status 1\nError: building at STEP "RUN x": exit status 1'
        error = self.classify(f"STEP 1/3: RUN dnf\nComplete!\nSTEP 2/3: RUN x\n{failed}")
        self.assertIsInstance(error, ContentError)
        self.assertEqual((error.what, error.image, error.log), ("RUN failed: no such package", "i", "l"))

    def test_registry_and_disk_are_not(self) -> None:
        for text in (
            "Error: initializing source docker://h/x@sha256:1: reading manifest: manifest unknown",
            "Error: creating build container: pinging container registry 127.0.0.1:5000: connection refused",
            'Error: building at STEP "COPY a b": no space left on device',
            "Error: committing container: layer not known",
        ):
            with self.subTest(text):
                self.assertIsInstance(self.classify(text), InfrastructureError)

    def test_a_step_that_the_machine_does_not_let_start_says_why(self) -> None:
        end = 'setting "RLIMIT_NOFILE" limit to soft=1048576,hard=1048576 (was soft=20000,hard=20000): operation not permitted'
        error = self.classify(f'STEP 3/16: RUN x\nError: building at STEP "RUN x": {end}')
        self.assertIsInstance(error, InfrastructureError)
        self.assertEqual(error.what, f"buildah could not start a RUN step: {end}")

    def test_a_step_without_output_says_how_it_ended(self) -> None:
        error = self.classify('STEP 3/16: RUN x\nError: building at STEP "RUN x": while running runtime: exit status 3')
        self.assertIsInstance(error, ContentError)
        self.assertEqual(error.what, "RUN failed: while running runtime: exit status 3")

    def test_a_reason_is_never_empty(self) -> None:
        for text, reason in (
            ('STEP 2/3: RUN x\nError: building at STEP "RUN x":', 'RUN failed: building at STEP "RUN x":'),
            ('STEP 2/3: RUN x\n\x1b[0m\x1b[K\r\nError: building at STEP "RUN x": exit status 1', "RUN failed: exit status 1"),
            ("", "buildah failed: buildah ended with code 1; its last lines:  (nothing)"),
            ("STEP 2/3: RUN x", "buildah failed: buildah ended with code 1; its last lines: STEP 2/3: RUN x (nothing)"),
        ):
            with self.subTest(text):
                self.assertEqual(self.classify(text).what, reason)

    def test_a_step_that_only_talks_about_networks_stays_the_recipes(self) -> None:
        text = 'curl: connection refused\nError: building at STEP "RUN curl http://x": exit status 7'
        self.assertNotIsInstance(self.classify(text), InfrastructureError)


if __name__ == "__main__":
    unittest.main()
