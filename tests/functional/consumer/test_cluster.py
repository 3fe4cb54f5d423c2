"""``topcoat consume --pods`` on what kubectl prints of clusters with several runtimes, against a real registry that holds an index."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path

from click.testing import CliRunner

from tests.functional.registry.base import RegistryCase, make_image
from tests.unit.inspection.layers import file, layer
from topcoat.cli import root
from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError
from topcoat.registry import Descriptor, Manifest, Registries, digest_of, image_manifest
from topcoat.registry.oci import EMPTY_BLOB, OCI_INDEX, OCI_MANIFEST, artifact_manifest, index_manifest
from topcoat.sets.index import describe

RECORDED = Path(__file__).parent / "recorded"
PROFILE = """\
variables: {host: null}
distro: demo
release: "9"
arch: x86_64
registry: "${host}"
namespace: n
base: {image: "x.y/base:1"}
"""


class Clusters(RegistryCase):
    """An index of two architectures, and a single image; statements of a builder lie in the index too."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        (cls.folder / "profiles").mkdir()
        (cls.folder / "profiles/site.yaml").write_text(PROFILE)
        cls.words = {"host": cls.server.host}
        registries = Registries(cls.server.authfile, cls.server.ca_file)
        cls.addClassCleanup(registries.close)
        client = registries.client(cls.server.host)

        def push(repository: str, architecture: str) -> Manifest:
            image, blobs = make_image(layer(file("etc/platform", architecture + repository)), architecture=architecture)
            manifest, document = image_manifest(image)
            for digest, data in {**blobs, digest_of(document): document}.items():
                client.put_blob(repository, digest, data)
            return client.manifest(repository, client.put_manifest(repository, architecture, manifest, OCI_MANIFEST))

        children = []
        for arch in ("amd64", "arm64"):
            manifest = push("n/nova", arch)
            children.append(describe(manifest, client.image("n/nova", manifest.digest)[1], arch))
            config = manifest.config.digest
            cls.words |= {arch: manifest.digest, f"config_{arch}": config, f"hex_{arch}": config.partition(":")[2]}
        client.put_blob("n/nova", digest_of(EMPTY_BLOB), EMPTY_BLOB)
        statement = artifact_manifest("application/vnd.in-toto+json", ())
        client.put_manifest("n/nova", digest_of(statement), statement, OCI_MANIFEST)
        entry = Descriptor(OCI_MANIFEST, digest_of(statement), len(statement), platform=(("architecture", "unknown"), ("os", "unknown")))
        body = index_manifest([*children, entry])
        cls.words["index"] = client.put_manifest("n/nova", digest_of(body), body, OCI_INDEX)
        cls.words["glance"] = push("n/glance", "amd64").digest

    def setUp(self) -> None:
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="topcoat-test-cluster-")))

    def recorded(self, name: str) -> dict:
        return json.loads(string.Template((RECORDED / f"{name}.json").read_text()).substitute(self.words))

    def consume(self, pods: object, *words: str, nova: str = "", host: str = "") -> tuple[dict, TopcoatError | None]:
        """(the result, why it was no proof)."""
        host = host or self.server.host
        digests = {"nova": nova or self.words["index"], "glance": self.words["glance"]}
        artifacts = [
            {
                "name": name,
                "url": f"docker://{host}/n/{name}:x",
                "metadata": {"type": "container_image", "image": name, "repository": f"{host}/n/{name}", "tag": "x", "digest": digest},
            }
            for name, digest in digests.items()
        ]
        (self.place / "artifacts.json").write_text(json.dumps(artifacts))
        text = pods if isinstance(pods, str) else json.dumps(pods)
        (self.place / "pods.json").write_text(text)
        site = ["--recipes", str(self.folder), "--profile", "site", "--set", f"host={host}", "--work-dir", str(self.place / "work")]
        access = ["--authfile", str(self.server.authfile), "--ca-file", str(self.server.ca_file)]
        files = ["--artifacts", str(self.place / "artifacts.json"), "--pods", str(self.place / "pods.json"), "--output", str(self.place / "out.json")]
        (self.place / "out.json").write_text("{}")
        done = CliRunner().invoke(root, [*site, *access, "consume", *files, *words])
        if done.exception is not None and not isinstance(done.exception, TopcoatError):
            raise done.exception
        self.output = done.output
        return json.loads((self.place / "out.json").read_text()), done.exception

    def ran(self, name: str, *words: str) -> list[tuple[str, ...]]:
        """(pod and container, child by name, platform, who says so) of each proved container."""
        result, error = self.consume(self.recorded(name), *words)
        self.assertIsNone(error)
        self.assertEqual((result["wrong"], result["others"]), ([], 1))
        self.assertEqual([image["digest"] for image in result["images"]], [self.words["index"]])
        named = {digest: word for word, digest in self.words.items()}
        return [(f"{one['pod']}/{one['container']}", named[one["child"]], one["platform"], one["said_by"]) for one in result["pods"]]

    def test_containerd_says_the_index_and_the_node_says_the_child(self) -> None:
        self.assertEqual(
            self.ran("containerd", "nova"),
            [
                ("openstack/nova-api-7d9c-x2x4k/sync", "amd64", "linux/amd64", "node"),
                ("openstack/nova-api-7d9c-x2x4k/api", "amd64", "linux/amd64", "node"),
                ("openstack/nova-api-7d9c-b81lq/api", "arm64", "linux/arm64", "node"),
                ("openstack/nova-loaded-0/api", "arm64", "linux/arm64", "image"),
            ],
        )
        self.assertIn(f"ran {min(self.words['amd64'], self.words['arm64'])} for", self.output)

    def test_crio_says_the_child_or_its_configuration_under_the_name_of_a_mirror_too(self) -> None:
        self.assertEqual(
            self.ran("cri-o", "nova"),
            [
                ("openstack/nova-api-7d9c-x2x4k/api", "amd64", "linux/amd64", "image"),
                ("openstack/nova-api-7d9c-b81lq/api", "arm64", "linux/arm64", "image"),
                ("openstack/nova-mirrored-0/api", "amd64", "linux/amd64", "image"),
            ],
        )

    def test_docker_has_words_before_its_digests_and_without_nodes_selector_and_profile_say_the_child(self) -> None:
        self.assertEqual(
            self.ran("docker", "nova"),
            [
                ("openstack/nova-api-7d9c-x2x4k/api", "arm64", "linux/arm64", "selector"),
                ("openstack/nova-loaded-0/api", "amd64", "linux/amd64", "image"),
                ("openstack/nova-unknown-0/api", "amd64", "linux/amd64", "profile"),
            ],
        )

    def test_every_way_of_running_something_else_is_one_line(self) -> None:
        result, error = self.consume(self.recorded("wrong"), "nova")
        words, returned, other = self.words, f"the provider returned {self.words['index']} of nova", "sha256:" + "9caa" * 16
        asked = f"{self.server.host}/n/nova@{words['index']}"
        wanted = {
            "old": f"runs {other}; {returned}",
            "swapped": f"runs {words['glance']}, which is glance; {returned}",
            "foreign": f"runs {words['arm64']}, an image for linux/arm64, on a node of linux/amd64; {returned}",
            "pull": f'has not started nova: ImagePullBackOff: Back-off pulling image "{asked}"',
            "nowhere": "has not started nova: Unschedulable: 0/3 nodes are available",
            "odd": f"runs 'local/nova:latest', which is no digest; {returned}",
        }
        self.assertEqual(result["wrong"], [f"pod openstack/nova-{name}-0, container api: {why}" for name, why in wanted.items()])
        self.assertEqual([line.partition("  ")[2] for line in self.output.splitlines() if line.startswith("WRONG")], result["wrong"])
        self.assertEqual(result["leaving"], ["openstack/nova-leaving-0", "openstack/nova-evicted-0"])
        self.assertIsInstance(error, ContentError)
        self.assertIn("nova-old-0", str(error))
        self.assertIn("(and 5 more)", str(error))

    def test_what_must_run_does_not_when_it_only_tries(self) -> None:
        pods = self.recorded("wrong")
        pods["items"] = [item for item in pods["items"] if item["metadata"]["name"] in ("worker-1", "nova-crash-0")]
        self.assertIsNone(self.consume(pods)[1])
        _, error = self.consume(pods, "nova")
        self.assertIsInstance(error, ContentError)
        self.assertIn("no container runs nova", str(error))

    def test_of_a_returned_child_the_index_that_holds_it_is_no_other_image(self) -> None:
        pods = self.recorded("containerd")
        pods["items"] = pods["items"][:3]
        result, error = self.consume(pods, nova=self.words["amd64"])
        self.assertIsNone(error)
        self.assertEqual({(one["child"], one["digest"]) for one in result["pods"]}, {(self.words["amd64"], self.words["amd64"])})
        result, error = self.consume(pods, nova=self.words["arm64"])
        self.assertIn(f"runs {self.words['index']}; the provider returned {self.words['arm64']}", str(error))

    def test_an_index_without_an_image_for_the_node(self) -> None:
        pods = self.recorded("containerd")
        pods["items"][1]["status"]["nodeInfo"]["architecture"] = "s390x"
        _, error = self.consume({**pods, "items": [pods["items"][1], pods["items"][3]]})
        self.assertIn("runs an index without an image for linux/s390x", str(error))

    def test_a_mirror_of_another_path_is_named(self) -> None:
        text = json.dumps(self.recorded("containerd")).replace(f"{self.server.host}/n/nova", "mirror.example.org/copies/os-nova")
        text = text.replace(self.words["index"], "sha256:" + "7" * 64)
        result, error = self.consume(text)
        self.assertEqual((result["wrong"], type(error)), ([], ContentError))  # nobody can know that these are ours, so there is no proof
        self.assertIn("name a mirror with --mirror", str(error))
        result, error = self.consume(text, "--mirror", f"{self.server.host}/n/nova=mirror.example.org/copies/os-nova")
        self.assertEqual([len(result["wrong"]), len(result["pods"])], [3, 1])  # the one that was loaded says a digest of ours
        for word in ("mirror.example.org", "=x", "x="):
            self.assertIsInstance(self.consume(text, "--mirror", word)[1], UsageError, word)

    def test_one_pod_and_a_list_of_pods_alone(self) -> None:
        pod = self.recorded("containerd")["items"][2]
        self.assertIsNone(self.consume(pod)[1])
        bare = {key: value for key, value in pod.items() if key not in ("kind", "apiVersion")}
        self.assertIsNone(self.consume({"kind": "PodList", "apiVersion": "v1", "items": [bare]})[1])

    def test_what_is_no_list_of_pods_is_refused(self) -> None:
        nodes = {"kind": "List", "items": self.recorded("containerd")["items"][:1]}
        whole = json.dumps(self.recorded("docker"))
        for pods in (
            "",
            "No resources found\n",
            whole[:-40],
            "[]",
            "{}",
            '{"kind": "List", "items": 3}',
            '{"kind": "Deployment"}',
            nodes,
            "[" * 100_000,
        ):
            with self.subTest(str(pods)[:30]):
                _, error = self.consume(pods)
                self.assertIsInstance(error, UsageError)
                self.assertIn("kubectl get nodes,pods", str(error))
        for before, after in (
            ('"name": "api"', '"name": 7'),
            ('"imageID": "docker', '"imageID": ["docker'),
            ('"phase"', '"phase": 1, "reason": {}, "x"'),
        ):
            with self.subTest(after):
                broken = whole.replace(before, after, 1)
                if after.endswith('["docker'):
                    broken = broken.replace(f'@{self.words["index"]}"', f'@{self.words["index"]}"]', 1)
                _, error = self.consume(broken)
                self.assertIsInstance(error, UsageError)
        self.assertIsInstance(self.consume(whole, "--running")[1], UsageError)

    def test_a_registry_that_does_not_answer_is_not_the_pods_fault(self) -> None:
        text = json.dumps(self.recorded("containerd")).replace(self.server.host, "127.0.0.1:1")
        self.assertIsInstance(self.consume(text, host="127.0.0.1:1")[1], InfrastructureError)
