"""A registry with images that podman can pull, keys, and podman and skopeo with a policy of their own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nacl.secret
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.functional.registry.base import RegistryCase
from tests.needs import need
from topcoat.publisher import Publisher
from topcoat.registry import Descriptor, Image, digest_of, oci
from topcoat.registry.attached import SIGNATURE
from topcoat.registry.oci import OCI_LAYER_GZIP, referrers_tag

PASSPHRASE = "correct horse"
DISABLED = "sigstore disabled"
"""What podman and skopeo of Debian say to any signature of this kind: they were built without. There openssl is the judge that is not ours."""


def sealed(key: ec.EllipticCurvePrivateKey, passphrase: str, *, name: str = "SIGSTORE", cost: int = 1 << 15) -> str:
    """A private key as cosign and skopeo write it."""
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    salt, nonce = os.urandom(32), os.urandom(24)
    secret = hashlib.scrypt(passphrase.encode(), salt=salt, n=cost, r=8, p=1, maxmem=1 << 28, dklen=32)
    text = {
        "kdf": {"name": "scrypt", "params": {"N": cost, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(nacl.secret.SecretBox(secret).encrypt(der, nonce).ciphertext).decode(),
    }
    body = base64.encodebytes(json.dumps(text).encode()).decode()
    return f"-----BEGIN ENCRYPTED {name} PRIVATE KEY-----\n{body}-----END ENCRYPTED {name} PRIVATE KEY-----\n"


def private_file(path: Path, content: str | bytes) -> Path:
    """A file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class SigningCase(RegistryCase):
    """Keys ``ours`` (encrypted, as skopeo writes it) and ``other``; the command; podman and skopeo."""

    @classmethod
    def setUpClass(cls) -> None:
        need("podman", "skopeo")
        super().setUpClass()
        cls.private, cls.public = {}, {}
        for name in ("ours", "other"):
            key = ec.generate_private_key(ec.SECP256R1())
            cls.private[name] = private_file(cls.folder / f"{name}.key", sealed(key, PASSPHRASE))
            cls.public[name] = cls.folder / f"{name}.pub"
            cls.public[name].write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        cls.passphrase = private_file(cls.folder / "passphrase", PASSPHRASE + "\n")
        cls.certificates = cls.folder / "certificates"
        cls.certificates.mkdir()
        shutil.copyfile(cls.server.ca_file, cls.certificates / "ca.crt")

    def push(self, repository: str, *tags: str, text: str = "", architecture: str = "amd64", docker: bool = False) -> str:
        """An image of one file; its digest."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo("file")
            content = f"{repository}{text}{architecture}".encode()
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        layer = gzip.compress(buffer.getvalue(), mtime=0)
        config = {
            "os": "linux",
            "architecture": architecture,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(buffer.getvalue())]},
        }
        kind = oci.DOCKER_MANIFEST if docker else oci.OCI_MANIFEST
        image = Image(config, (Descriptor(OCI_LAYER_GZIP, digest_of(layer), len(layer)),), media_type=kind)
        return Publisher(self.registries()).publish(f"{self.server.host}/{repository}", image, {digest_of(layer): layer}, tags).digest

    def push_index(self, repository: str, tag: str) -> tuple[str, dict[str, str]]:
        """An image for two architectures; digest of the index, and of each image."""
        client, children = self.client(), {}
        for architecture in ("amd64", "arm64"):
            children[architecture] = self.push(repository, architecture=architecture)
        entries = [
            oci.Descriptor(manifest.media_type, manifest.digest, len(manifest.body), platform=(("architecture", architecture), ("os", "linux")))
            for architecture, digest in children.items()
            for manifest in (client.manifest(repository, digest),)
        ]
        return client.put_manifest(repository, tag, oci.index_manifest(entries), oci.OCI_INDEX), children

    def topcoat(self, *words: str, code: int | None = 0, **environment: str) -> str:
        """Run the command; what it said. Its exit code is checked, or kept as ``self.code`` where None is expected."""
        command = [
            sys.executable,
            "-m",
            "topcoat",
            *self.tree_words(),
            "--authfile",
            str(self.server.authfile),
            "--ca-file",
            str(self.server.ca_file),
        ]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TOPCOAT_", "REGISTRY_AUTH"))}
        done = subprocess.run([*command, *words], capture_output=True, text=True, env=clean | environment, cwd=self.folder)
        said = done.stdout + done.stderr
        self.code = done.returncode
        if code is not None:
            self.assertEqual(code, done.returncode, said)
        for secret in (PASSPHRASE, self.server.password, "Traceback"):
            self.assertNotIn(secret, said)
        return said

    def tree_words(self) -> list[str]:
        """A recipe tree of one image, ``base``, and a profile."""
        tree = self.folder / "tree"
        if not tree.exists():
            tree.mkdir()
            (tree / "base.yaml").write_text("base: { from: profile, packages: [bash] }\n")
            (tree / "profile.yaml").write_text(
                f"distro: demo\nrelease: '9'\narch: x86_64\nbase: {{ image: {self.server.host}/x/y:z, digest: 'sha256:{'0' * 64}' }}\n"
                f"repositories: [{{ id: base, baseurl: 'file:///x' }}]\nregistry: '{self.server.host}'\nnamespace: set\nreference_tag: floating\n"
            )
        return ["--recipes", str(tree), "--profile", str(tree / "profile.yaml")]

    def key_words(self, name: str = "ours") -> list[str]:
        """The options that name a key."""
        return ["--sign-key", str(self.private[name]), "--sign-passphrase-file", str(self.passphrase)]

    def sign(self, reference: str, name: str = "ours") -> None:
        """Sign ``repository[:tag]`` or ``repository@digest`` of the registry."""
        self.topcoat("sign", "--reference", f"{self.server.host}/{reference}", *self.key_words(name))

    def home(self, identity: str = "matchRepoDigestOrExact", key: str = "ours") -> Path:
        """A home folder whose policy wants our signature on everything of the registry."""
        home = self.folder / f"home-{identity}-{key}"
        settings = home / ".config/containers"
        if not home.exists():
            (settings / "registries.d").mkdir(parents=True)
            (settings / "registries.d/site.yaml").write_text(f"docker:\n  {self.server.host}:\n    use-sigstore-attachments: true\n")
            asked = {"type": "sigstoreSigned", "keyPath": str(self.public[key]), "signedIdentity": {"type": identity}}
            policy = {"default": [{"type": "reject"}], "transports": {"docker": {self.server.host: [asked]}}}
            (settings / "policy.json").write_text(json.dumps(policy))
        return home

    def assert_accepted(self, reference: str, *words: str, home: Path | None = None, key: str = "ours") -> None:
        """By podman and skopeo where they know such signatures, and by openssl everywhere."""
        for said in (self.podman(reference, *words, home=home), *([] if words else [self.skopeo(reference, home=home)])):
            if DISABLED not in said:
                self.assertEqual("", said)
        client, (repository, _, target) = self.client(), reference.replace("@", ":", 1).partition(":")
        digest = client.manifest(repository, target).digest
        layers = client.manifest(repository, f"{referrers_tag(digest)}.sig", cached=False).document["layers"]
        good = 0
        for layer in layers:
            payload, signature = self.folder / "payload", self.folder / "signature"
            payload.write_bytes(client.blob(repository, layer["digest"]))
            signature.write_bytes(base64.b64decode(layer["annotations"][SIGNATURE]))
            words = ("openssl", "dgst", "-sha256", "-verify", str(self.public[key]), "-signature", str(signature), str(payload))
            critical = json.loads(payload.read_bytes())["critical"]
            right = critical["image"]["docker-manifest-digest"] == digest and critical["identity"]["docker-reference"].startswith(
                f"{self.server.host}/{repository}"
            )
            good += right and subprocess.run(words, capture_output=True).returncode == 0
        self.assertGreater(good, 0, layers)

    def podman(self, reference: str, *words: str, home: Path | None = None) -> str:
        """Pull with podman under the policy; empty when it does, else what it said."""
        storage = self.folder / "storage"
        command = ["podman", "--root", str(storage / "root"), "--runroot", str(storage / "run"), "--storage-driver", "vfs", "pull", "--quiet"]
        command += ["--authfile", str(self.server.authfile), "--cert-dir", str(self.certificates), *words, f"{self.server.host}/{reference}"]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(home or self.home())})
        return done.stderr if done.returncode else ""

    def skopeo(self, reference: str, *, home: Path | None = None) -> str:
        """Copy with skopeo under the policy; empty when it does, else what it said."""
        shutil.rmtree(self.folder / "copied", ignore_errors=True)
        command = ["skopeo", "copy", "--quiet", "--src-authfile", str(self.server.authfile), "--src-cert-dir", str(self.certificates)]
        command += [f"docker://{self.server.host}/{reference}", f"dir:{self.folder / 'copied'}"]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(home or self.home())})
        return done.stderr if done.returncode else ""
