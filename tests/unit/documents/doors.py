"""Every door of the product as a function of bytes, with documents that pass it: what the tests of hostile input break in all ways."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import yaml

from tests.unit.report import fixtures
from topcoat.changes import ImageFacts
from topcoat.cli import _selection
from topcoat.cli.copy import _listed
from topcoat.consumer import podman
from topcoat.consumer.podman import Podman
from topcoat.consumer.pods import read_pods
from topcoat.containerfile.labels import fingerprint_parts
from topcoat.documents import Door, packed
from topcoat.errors import UsageError
from topcoat.garbage.collector import Collector
from topcoat.gating import repository as gating
from topcoat.model import Nevra, PackageChange, Plan, PlannedImage, Reason
from topcoat.promotion import control
from topcoat.promotion.history import Entry, History, JobNote
from topcoat.promotion.sets import ImageSet, SetRecord
from topcoat.registry import oci
from topcoat.registry.auth import Authenticator, Credentials
from topcoat.registry.oci import Descriptor, Manifest, artifact_manifest, digest_of, image_manifest, index_manifest, parse_image, to_json
from topcoat.registry.referrers import _entries, _parsed
from topcoat.registry.tagged import TaggedDocuments
from topcoat.registry.transport import Response, failure
from topcoat.report import console, document, junit, page
from topcoat.report.plans import plan_from_dict, plan_to_dict
from topcoat.reproduce import gerrit, request
from topcoat.reproduce.request import ChangeUrl, Recording
from topcoat.reproduce.run import ReproduceOptions, from_recording
from topcoat.rpm import changelogs, header, installed, inventory, openpgp, rpmdb
from topcoat.runs import claims
from topcoat.sets import bisect_steps, contents, reviews, telling
from topcoat.signing import bundles, statements
from topcoat.solver import modules
from topcoat.synthesis import Node, Tree, draw, restore
from topcoat.trunk.criteria import load_criteria
from topcoat.trunk.dlrn import DlrnApi, _said
from topcoat.trunk.hashes import from_commit_yaml, from_repo_file
from topcoat.yum import kept, manifest, repomd
from topcoat.zuul import load_variables, newest_images, parse_artifacts, parse_job, returned_findings

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"
COMMIT = HEX[:40]
NEVRA = "bash-5.1-2.x86_64"


@dataclass(frozen=True)
class Place:
    """A door: a document that passes, and what reads it."""

    good: bytes
    read: Callable[[bytes], object]
    text: bool = True
    """Whether it is JSON or YAML, so that its values can be exchanged one by one."""


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def work(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "document"
            path.write_bytes(data)
            path.chmod(0o600)
            return read(path)

    return work


# ---- registry ---------------------------------------------------------------------------------------------------------------------------------

LAYER = Descriptor(oci.OCI_LAYER_GZIP, DIGEST, 5, (("org.opencontainers.image.title", "x"),))
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-01-01T00:00:00Z",
    "config": {
        "Labels": {"io.topcoat.update-base": DIGEST, "io.topcoat.fingerprint-parts": '{"files": "x"}', "a": "b"},
        "Env": ["A=b"],
        "Entrypoint": ["/x"],
        "User": "x",
        "Healthcheck": {"Test": ["CMD", "x"]},
        "Volumes": {"/x": {}},
    },
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    "history": [{"created": "2026-01-01T00:00:00Z"}],
}
MANIFEST = {"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "config": {"mediaType": oci.OCI_CONFIG, "digest": DIGEST, "size": 3}}
BUNDLE = {
    "mediaType": bundles.MEDIA_TYPE,
    "verificationMaterial": {"publicKey": {"hint": "x"}},
    "dsseEnvelope": json.loads(statements.envelope(b"{}", b"x")),
}


def _image(manifest: bytes, config: bytes) -> object:
    """As the whole product uses an image: read, shown, one layer more, written again."""
    found = parse_image(Manifest(digest_of(manifest), oci.OCI_MANIFEST, manifest), config)
    more = oci.append_layer(found, LAYER, DIGEST, created_by="x", labels={"c": "d"})
    oci.require_platform(found, f"linux/{found.config.get('architecture') or 'amd64'}", "x")
    return (image_manifest(more), found.labels, found.has_healthcheck, found.created, found.platform, fingerprint_parts(found.labels))


def _manifest(data: bytes) -> object:
    found = Manifest(digest_of(data), oci.OCI_MANIFEST, data)
    return (found.blobs, found.config, found.descriptor, found.document.get("artifactType"), _image(data, to_json(CONFIG)))


def _index(data: bytes) -> object:
    found = Manifest(digest_of(data), oci.OCI_INDEX, data)
    return (_parsed(_entries(found) or ()), found.children, oci.select_platform(found, "linux/amd64"))


def _token(data: bytes) -> object:
    from topcoat.registry import transport

    authenticator = Authenticator("r.example.org", None, lambda *_: transport._TOKENS.json_object(data, "the token server's answer"))
    authenticator.learn('Bearer realm="https://t.example.org/"')
    return authenticator.header(("repository:a:pull",)).encode("latin-1")  # type: ignore[union-attr]


def _challenge(data: bytes) -> object:
    authenticator = Authenticator("r.example.org", None, lambda *_: {"token": "x"})
    authenticator.learn(data.decode("latin-1"))
    return authenticator.header(("repository:a:pull",))


def _note(data: bytes) -> object:
    collector = Collector.__new__(Collector)
    body = artifact_manifest("x", (), annotations={"io.topcoat.gc-seen": data.decode("utf-8", "replace")})
    collector._client = mock.Mock(shown=lambda *_: DIGEST, manifest=lambda *_: Manifest(digest_of(body), oci.OCI_MANIFEST, body))
    collector._control = mock.Mock(repository="x", documents=TaggedDocuments(collector._client, "x"))
    return collector._first_seen()


# ---- packages ----------------------------------------------------------------------------------------------------------------------------------


def _header() -> bytes:
    from topcoat_demo.rpms import RpmSpec, build_rpm

    return build_rpm(RpmSpec("bash", "5.1"))


@functools.cache
def _rpm() -> bytes:
    return _header()


@functools.cache
def _row() -> bytes:
    """A header as a database holds it: without its magic."""
    whole = _rpm()
    at = 96
    entries, size = (int.from_bytes(whole[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(2))
    at += 16 + 16 * entries + size
    at += -at % 8
    entries, size = (int.from_bytes(whole[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(2))
    return whole[at + 8 : at + 16 + 16 * entries + size]


@functools.cache
def _database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        connection.execute("INSERT INTO Packages VALUES (1, ?)", (_row(),))
        connection.commit()
        connection.close()
        return path.read_bytes()


def _signature() -> bytes:
    from topcoat_demo import signing

    return signing.DEMO.signatures(b"x", b"y", signing.CREATED)[268]


def _inventory() -> dict[str, object]:
    return {
        "schema": inventory.SCHEMA,
        "rpmdb_path": "/var/lib/rpm/rpmdb.sqlite",
        "key": DIGEST,
        "packages": [[NEVRA, "bash-5.1-2.src.rpm", 5, 7]],
        "signers": ["0123456789abcdef"],
        "about": [["MIT", "Demo", "00"]],
        "settings": {
            "excludes": ["kernel*"],
            "install_only_limit": 2,
            "obsoletes": False,
            "modules": [["m", "s", "enabled", ["p"]]],
            "platform": "platform:el9",
        },
        "changelogs": {DIGEST: ["bash-5.1-2.src.rpm"]},
    }


def _read_inventory(data: bytes) -> object:
    found = inventory.Inventory.from_files({"packages.json": data, "installed.solv.gz": b""})
    return (found.signers, found.unsigned, json.dumps([str(nevra) for nevra in found.nevras]).encode("ascii"), found.to_files())


def _damaged(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """``header.Damaged`` is turned into an error by every caller; here by the test."""

    def work(data: bytes) -> object:
        try:
            return read(data)
        except header.Damaged as error:
            raise UsageError(str(error), next_step="x") from error

    return work


def _told(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """The same for ``ValueError`` of readers whose callers add the name of the repository."""

    def work(data: bytes) -> object:
        try:
            return read(data)
        except (ValueError, yaml.YAMLError) as error:
            raise UsageError(str(error), next_step="x") from error

    return work


REPOMD = (
    '<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="primary">'
    f'<checksum type="sha256">{HEX}</checksum><location href="repodata/p.xml.gz"/><size>5</size><open-size>9</open-size></data></repomd>'
)

# ---- runs ---------------------------------------------------------------------------------------------------------------------------------------


def _plan() -> dict:
    nevra = Nevra.parse(NEVRA)
    images = (
        PlannedImage("a", Reason.UNCHANGED, "s", None, "f", DIGEST),
        PlannedImage("b", Reason.RPM_UPGRADE, "s", "a", "f", DIGEST, (PackageChange(nevra, Nevra.parse("bash-5.1-3.x86_64"), "r"),), DIGEST),
    )
    return plan_to_dict(Plan("p", images, (("r", HEX),), (nevra,)))


def _read_plan(data: bytes) -> object:
    plan = plan_from_dict(Door(UsageError, "x").json(data, "the plan"))  # type: ignore[arg-type]
    return _json(plan_to_dict(plan))


def _read_receipt(data: bytes) -> object:
    """As it is used: shown in every form."""
    receipt = document.from_text(data.decode("utf-8", "replace"), "receipt.json")
    document.receipt_to_dict(receipt)
    junit.to_xml(receipt).encode()
    page.render(receipt).encode()
    with mock.patch("sys.stderr"), mock.patch("sys.stdout"):
        console.show(receipt)
    returned_findings(receipt, comments=True)
    return receipt


def _receipt() -> dict:
    """Three images of the sample: enough for every field, small enough for many rounds."""
    whole = document.receipt_to_dict(fixtures.red())
    chosen = [image for image in whole["images"] if image["changes"]][:1] + [image for image in whole["images"] if image["error"]][:1]  # type: ignore[index, call-overload]
    return {**whole, "images": [*chosen, whole["images"][0]], "gated": list(whole["gated"])[:2], "coverage": list(whole["coverage"])[:2]}  # type: ignore[index, call-overload]


def _control_owner(data: bytes) -> object:
    return control._owner(data.decode("utf-8", "replace"))


def _record() -> bytes:
    shown = ImageSet.of({"a": DIGEST})
    return SetRecord("n", "s", shown, (("a", "x/a"),), shown, "p", 5.5, "me").to_json().encode()


def _read_record(data: bytes) -> object:
    return SetRecord.from_json(data.decode("utf-8", "replace")).to_json()


# ---- Zuul, Gerrit, DLRN -------------------------------------------------------------------------------------------------------------------------

ITEM = {
    "project": {"canonical_name": "r.example.org/openstack/nova", "name": "openstack/nova"},
    "branch": "master",
    "change": "5",
    "patchset": "2",
    "change_url": "https://r.example.org/c/openstack/nova/+/5",
    "topic": "t",
    "commit_id": COMMIT,
}
ARTIFACT = {
    "name": "a",
    "url": "docker://r.example.org/x/a:t",
    "job": "j",
    "metadata": {"type": "container_image", "repository": "x/a", "tag": "t", "digest": DIGEST},
}
ZUUL = {
    "items": [ITEM],
    "projects": {
        "r.example.org/openstack/nova": {
            "canonical_name": "r.example.org/openstack/nova",
            "name": "openstack/nova",
            "src_dir": "src/r.example.org/openstack/nova",
            "checkout": "master",
            "commit": COMMIT,
        }
    },
    "artifacts": [ARTIFACT],
    "pipeline": "check",
    "build": HEX[:32],
    "project": {"canonical_name": "r.example.org/openstack/nova"},
}
CHANGE = {
    "project": "openstack/nova",
    "branch": "master",
    "_number": 5,
    "status": "NEW",
    "topic": "t",
    "revisions": {
        COMMIT: {"_number": 1, "ref": "refs/changes/05/5/1", "commit": {"message": "m", "parents": [{"commit": COMMIT}]}},
    },
}


def _zuul(data: bytes) -> object:
    job = parse_job(load_variables(data, where="inventory.yaml"))
    return (job, newest_images(job.artifacts))


def _recording(data: bytes) -> object:
    return from_recording(Recording(data.decode("utf-8", "replace"), "inventory.yaml", lambda path: None), ReproduceOptions(Path("/nowhere")))


def _gerrit(data: bytes) -> object:
    with mock.patch.object(gerrit, "fetch", lambda url: data.decode("utf-8", "replace")):
        asked = gerrit.Gerrit()
        return asked.needs(asked.change(ChangeUrl("https://r.example.org", "5")))


def _build(data: bytes) -> object:
    with mock.patch.object(request, "fetch", lambda url: data.decode("utf-8", "replace")):
        return request._inventory_of(request.BuildUrl("https://z.example.org/api/build/x"))


def _dlrn(call: Callable[[DlrnApi], object]) -> Callable[[bytes], object]:
    def work(data: bytes) -> object:
        api = DlrnApi.__new__(DlrnApi)
        api.url, api._page = "https://d.example.org", 100
        api._call = lambda *_, **__: data  # type: ignore[method-assign]
        return call(api)

    return work


VOTE = {
    "commit_hash": COMMIT,
    "distro_hash": COMMIT,
    "job_id": "j",
    "success": True,
    "timestamp": 5,
    "url": "https://x.example.org",
    "in_progress": False,
}
PROMOTION = {"commit_hash": COMMIT, "distro_hash": COMMIT, "extended_hash": None, "promote_name": "n", "timestamp": 5, "component": None, "user": "u"}
GATING = {"packages": [{"nevra": NEVRA, "file": "b.rpm", "project": "p", "commit": COMMIT, "change_url": None, "committed": 5}]}
MODULES = "\n".join(
    (
        "---",
        "document: modulemd",
        "version: 2",
        "data: {name: n, stream: s, version: 5, artifacts: {rpms: [a-0:1-1.x86_64]}, dependencies: [{requires: {platform: [], m: [x]}}]}",
        "---",
        "document: modulemd-defaults",
        "version: 1",
        "data: {module: n, stream: s}",
    )
)
AUTHS = {"auths": {"r.example.org": {"auth": base64.b64encode(b"u:p").decode()}, "s.example.org": {"username": "u", "password": "p"}}}
CRITERIA = {"n": {"candidate": "c", "required": ["j"], "alternatives": {"j": ["k"]}, "max_age_hours": 5, "too_old": "skip"}}
LABEL = claims.claim({"packages.json": DIGEST}, [DIGEST], claims.Sketch(DIGEST, 1)).encode()
PASSWD = b"a:x:1:1"
TREE = Tree({"etc": Node("d", 0, 0, 0, 0), "etc/passwd": Node("f", 0, 0, 0, 0), "l": Node("l", 0, 0, 0, 0, "etc")}, {"etc/passwd": PASSWD})


# ---- promotions, sets, consumers ---------------------------------------------------------------------------------------------------------------


def _entry() -> bytes:
    shown = ImageSet.of({"a": DIGEST})
    record = SetRecord("n", "s", shown, (("a", "x/a"),), shown, "p", 5.5, "me", "e")
    jobs = (JobNote("j", "blocking", "passed", "", 1, "https://x.example.org"),)
    words = {"times": 1, "by": "me", "sentence": "w", "override": "o", "previous_source": "p", "images": 1, "moved": 1}
    return Entry("1-a", "n", "promotion", "promoted", "s", 5.5, 6.5, places=("r/x",), jobs=jobs, record=record, **words).to_json().encode()  # type: ignore[arg-type]


def _hold(data: bytes) -> object:
    return History(mock.Mock(documents=mock.Mock(read=lambda *_: data.decode("utf-8", "replace")))).hold("n")


FACTS = {"a": ImageFacts(DIGEST, frozenset({(NEVRA, "bash-5.1-2.src.rpm", 5)}), {"bash-5.1-2.src.rpm": DIGEST}, "f", {"p": "v"}, "r", "s")}
CONTENTS = packed.unpack(contents.pack(FACTS, "linux/amd64", {"linux/arm64": FACTS}), 1 << 20)
CHANGELOG = {"bash-5.1-2.src.rpm": [[5, "me", "words"]]}


def _repacked(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Of a document that is kept compressed."""
    return lambda data: read(gzip.compress(data))


def _status(image: str, state: dict[str, object]) -> dict[str, object]:
    return {"name": image, "image": f"r/{image}:t", "imageID": f"r/{image}@{DIGEST}", "state": state}


POD = {
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "n"},
    "spec": {"nodeName": "n", "nodeSelector": {"kubernetes.io/arch": "amd64"}, "containers": [{"name": "c", "image": "r/c:t"}]},
    "status": {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "r", "message": "m"}],
        "containerStatuses": [_status("c", {"running": {"startedAt": "x"}}), _status("w", {"waiting": {"reason": "r", "message": "m"}})],
        "initContainerStatuses": [_status("i", {"terminated": {"exitCode": 0, "reason": "Completed"}})],
    },
}
NODE = {"kind": "Node", "metadata": {"name": "n"}, "status": {"nodeInfo": {"operatingSystem": "linux", "architecture": "amd64"}}}
INSPECTED = {"Digest": DIGEST, "Os": "linux", "Architecture": "amd64", "RepoDigests": [f"r/x@{DIGEST}"]}


def _podman(call: Callable[[Podman], object]) -> Callable[[bytes], object]:
    def work(data: bytes) -> object:
        with mock.patch.object(podman, "run", lambda *_, **__: mock.Mock(code=0, output=data.decode("utf-8", "replace"))):
            return call(Podman(platform="linux/amd64"))

    return work


LOCKED = {"name": "bash", "repo_id": "r", "location": "b.rpm", "checksum": f"sha256:{HEX}", "size": 5, "evr": "5.1-2", "srpm": "bash-5.1-2.src"}
LOCK = {
    "document": "rpm-package-manifest",
    "version": "0.2.2",
    "data": {
        "repositories": [{"id": "r", "baseurl": "https://x.example.org"}],
        "packages": {"x86_64": [LOCKED], "noarch": [{**LOCKED, "name": "n", "parent_archs": ["x86_64"]}]},
    },
}


def _kept(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / kept.CONTENTS).write_bytes(data)
        return kept.load(Path(folder), "place").view


STEP = {"number": 1, "applied": ["a"], "outcome": "good", "code": 0, "tag": "t", "images": 1, "seconds": 1.5, "ran": 2.5, "suspects": 3}
MOVE = {"from": ["1-1"], "to": ["1-2.abcdef12"], "images": ["a"]}
ROW = {"kind": "updated", "source": "nova", "images": ["a"], "moves": [MOVE], "changelog": [{"text": "https://g.example.org/c/p/+/5"}], "links": []}
PROMOTED = {
    "name": "n",
    "source": "s",
    "state": "promoted",
    "changes": {"packages": [ROW], "revisions": [{"image": "a", "from": COMMIT, "to": COMMIT}]},
}


def _told_of(data: bytes) -> object:
    login = mock.Mock(from_authfile=lambda _: mock.Mock(find=lambda _: mock.Mock(user="u", password="p")))
    server = mock.Mock(merged=lambda _: [reviews.MergedChange(5, "p", "s")])
    with mock.patch.object(telling, "Credentials", login), mock.patch.object(telling, "Reviews", lambda *_, **__: server):
        return _file(lambda path: telling.tell(path, "https://g.example.org", authfile=Path("x")))(data)


def places() -> Mapping[str, Place]:
    """Every door by name."""
    sample = _receipt()
    return {
        "manifest": Place(_json({**MANIFEST, "layers": [LAYER.as_dict()], "annotations": {"a": "b"}}), _manifest),
        "configuration": Place(to_json(CONFIG), lambda data: _image(_json({**MANIFEST, "layers": [LAYER.as_dict()]}), data)),
        "index": Place(index_manifest([Descriptor(oci.OCI_MANIFEST, DIGEST, 5, platform=(("architecture", "amd64"), ("os", "linux")))]), _index),
        "error of a registry": Place(
            _json({"errors": [{"code": "X", "message": "m"}]}),
            lambda data: str(failure("r", "GET", "https://r/v2/", Response(400, {}, data), has_login=False)),
        ),
        "token": Place(_json({"token": "abc", "expires_in": 60}), _token),
        "challenge": Place(b'Bearer realm="https://t.example.org/",service="s", Basic realm="x"', _challenge, text=False),
        "auth file": Place(_json(AUTHS), _file(Credentials.from_authfile)),
        "claim on an inventory": Place(LABEL, lambda data: claims.claimed(data.decode("utf-8", "replace"), [DIGEST]).files),
        "claim on the files": Place(LABEL, lambda data: claims.claimed(data.decode("utf-8", "replace"), [DIGEST]).sketch),
        "list of an image's files": Place(
            gzip.decompress(draw(TREE, ()) or b"").partition(b"\n")[0], lambda data: restore(gzip.compress(data + b"\n" + PASSWD), ())
        ),
        "packed list of an image's files": Place(draw(TREE, ()) or b"", lambda data: restore(data, ()), text=False),
        "inventory": Place(_json(_inventory()), _read_inventory),
        "inventory in a file": Place(
            inventory.Inventory.from_files({"packages.json": _json(_inventory()), "installed.solv.gz": b"x"}).to_bytes(),
            inventory.Inventory.from_bytes,
            text=False,
        ),
        "solver's half of an inventory": Place(
            gzip.compress(b"x" * 100),
            lambda data: inventory.Inventory.from_files({"packages.json": _json(_inventory()), "installed.solv.gz": data}).solv,
            text=False,
        ),
        "package database": Place(_database(), lambda data: installed.nevras(rpmdb.Database("/x", data, None)), text=False),
        "row of a package database": Place(_row(), _damaged(header.stored), text=False),
        "package file": Place(_rpm(), _damaged(_file(header.signatures_of_file)), text=False),
        "signature": Place(_signature(), _told(openpgp.signature), text=False),
        "repomd.xml": Place(REPOMD.encode(), _told(repomd.parse), text=False),
        "module metadata": Place(MODULES.encode(), _told(_modules), text=False),
        "plan": Place(_json(_plan()), _read_plan),
        "receipt": Place(_json(sample), _read_receipt),
        "promotion record": Place(_record(), _read_record),
        "promotion lock": Place(_json({"id": "i", "host": "h", "pid": 5, "boot": "b", "expires": 5.5}), _control_owner),
        "signed name": Place(statements.claim("h.example.org/a:b", DIGEST), statements.read_claim),
        "signed statement": Place(statements.envelope(b"{}", b"x"), statements.read_envelope),
        "bundle": Place(_json(BUNDLE), bundles.read),
        "note of a collection": Place(_json({"a:b": 5}), _note),
        "criteria": Place(yaml.safe_dump(CRITERIA).encode(), _file(load_criteria)),
        "list of gated packages": Place(_json(GATING), _gating),
        "zuul variables": Place(yaml.safe_dump({"all": {"vars": {"zuul": ZUUL}}}).encode(), _zuul),
        "recorded job": Place(yaml.safe_dump({"all": {"vars": {"zuul": ZUUL, "x": 5}, "hosts": {"a": {}}}}).encode(), _recording),
        "artifacts": Place(_json([ARTIFACT]), _file(lambda path: newest_images(parse_artifacts(_selection.read_artifacts(path))))),
        "entry of a history": Place(_entry(), lambda data: Entry.from_json(data.decode("utf-8", "replace"))),
        "hold": Place(_json({"reason": "r", "by": "me", "time": 5.5}), _hold),
        "contents of a set": Place(_json(CONTENTS), _repacked(lambda data: contents.unpack(data, "linux/amd64"))),
        "contents of a set for another platform": Place(_json(CONTENTS), _repacked(lambda data: contents.unpack(data, "linux/arm64"))),
        "bundle of changelogs": Place(_json(CHANGELOG), _repacked(changelogs.unpack)),
        "pods": Place(_json({"kind": "List", "items": [NODE, POD]}), _file(read_pods)),
        "podman's images": Place(_json([INSPECTED]), _podman(lambda one: one.digests("x"))),
        "podman's containers": Place(_json([{"Names": ["n"], "Id": "i", "Image": "r/x:t", "ImageID": HEX}]), _podman(lambda one: one.running())),
        "lock of packages": Place(yaml.safe_dump(LOCK).encode(), _file(manifest.read)),
        "list of what is kept": Place(_json({"schema": kept.SCHEMA, "view": {"r": HEX}, "keys": {"https://k": "keys/0"}}), _kept),
        "steps of a bisect": Place(
            _json({"schema": bisect_steps.SCHEMA, "steps": [STEP]}),
            lambda data: bisect_steps.of_document(Door(UsageError, "x").json(data, "it"), "h/n:t"),
        ),
        "promotion to tell of": Place(_json(PROMOTED), _told_of),
        "list of images to copy": Place(yaml.safe_dump({"images": [{"reference": "r.example.org/x:t", "external": False}]}).encode(), _file(_listed)),
        "Gerrit's answer": Place(_json([CHANGE]), _gerrit),
        "Zuul's answer": Place(_json({"log_url": "https://l.example.org/x"}), _build),
        "DLRN's votes": Place(_json([VOTE]), _dlrn(lambda api: api.votes(_trunk()))),
        "DLRN's promotions": Place(_json([PROMOTION]), _dlrn(lambda api: api.promotions("n", limit=1))),
        "DLRN's error": Place(_json({"message": "m"}), _said),
        "commit.yaml": Place(yaml.safe_dump({"commits": [{"commit_hash": COMMIT, "distro_hash": COMMIT}]}).encode(), _utf8(from_commit_yaml)),
        "delorean.repo": Place(f"[a]\nbaseurl=https://x/{COMMIT}_01234567\n".encode(), _utf8(from_repo_file), text=False),
    }


def _utf8(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


def _trunk():  # type: ignore[no-untyped-def]
    from topcoat.trunk.hashes import TrunkHash

    return TrunkHash(COMMIT, COMMIT)


def _modules(data: bytes) -> object:
    """The errors that its caller names the repository for."""
    try:
        return modules.parse(data)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _gating(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "repodata").mkdir()
        (root / "repodata/repomd.xml").write_text("")
        (root / gating.MANIFEST).write_bytes(data)
        return gating.load(root).nevras
