"""Two authorities on loopback: one that certifies keys for whoever a token names, by Fulcio's API, and a timestamp authority that is openssl."""

from __future__ import annotations

import base64
import datetime
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_EXAMPLE = Path(__file__).parents[3] / "doc/source/zuul/examples" / "fulcio.yaml"
SUBJECT = "secret:openstack/review.example.org/config/signing"
ISSUER = "https://zuul.example.org"


def token(**claims: str) -> str:
    """A token as Zuul makes it (without a signature: nothing here checks it)."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part({'iss': ISSUER, 'sub': SUBJECT, 'aud': 'sigstore'} | claims)}.c2ln"


class Authorities:
    """Both; a context manager. ``mood`` changes what they answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mood = ""
        self.asked = 0
        self._one = threading.Lock()
        self._key, self._root = _authority("root", None, None)
        self._write("root.pem", self._root)
        stamps, certificate = _authority("stamps", self._key, self._root, purpose=ExtendedKeyUsageOID.TIME_STAMPING)
        self._write("stamps.pem", certificate)
        pem = stamps.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "stamps.key").write_bytes(pem)
        (folder / "serial").write_text("01\n")
        (folder / "openssl.cnf").write_text(
            f"[tsa]\nserial={folder}/serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\nsigner_cert={folder}/stamps.pem\n"
            f"signer_key={folder}/stamps.key\ncerts={folder}/root.pem\ness_cert_id_alg=sha256\n"
        )

    def __enter__(self) -> Authorities:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _write(self, name: str, certificate: x509.Certificate) -> None:
        (self.folder / name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certify(self, body: dict[str, Any]) -> dict[str, Any]:
        """Fulcio's answer to ``signingCert``."""
        self.asked += 1
        claims = json.loads(base64.urlsafe_b64decode(body["credentials"]["oidcIdentityToken"].split(".")[1] + "=="))
        wanted = body["publicKeyRequest"]
        public: Any = serialization.load_pem_public_key(wanted["publicKey"]["content"].encode())
        public.verify(base64.b64decode(wanted["proofOfPossession"]), claims["sub"].encode(), ec.ECDSA(hashes.SHA256()))
        if self.mood == "another key":
            public = ec.generate_private_key(ec.SECP256R1()).public_key()
        now = datetime.datetime.now(datetime.UTC)
        zuul = yaml.safe_load(_EXAMPLE.read_text())["ci-issuer-metadata"]["zuul"]
        text = zuul["subject-alternative-name-template"].replace("{{ .url }}", zuul["default-template-values"]["url"])
        name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(text.replace("{{ .sub }}", claims["sub"]))])
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self._root.subject).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + datetime.timedelta(minutes=10))
        leaf = builder.add_extension(name, critical=True).add_extension(usage, critical=False).sign(self._key, hashes.SHA256())
        chain = [certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in (leaf, self._root)]
        return {"signedCertificateDetachedSct": {"chain": {"certificates": chain}}}

    def stamp(self, request: bytes) -> bytes:
        """openssl's answer to a request for a timestamp."""
        words = ["openssl", "ts", "-reply", "-config", self.folder / "openssl.cnf", "-section", "tsa", "-queryfile", self.folder / "request.tsq"]
        with self._one:  # openssl keeps its serial number in a file
            (self.folder / "request.tsq").write_bytes(request)
            return subprocess.run([*words, "-out", "/dev/stdout"], check=True, capture_output=True).stdout


def _authority(
    name: str, signer: ec.EllipticCurvePrivateKey | None, issuer: x509.Certificate | None, purpose: x509.ObjectIdentifier | None = None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=purpose is None, path_length=None), critical=True)
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    return key, builder.sign(signer or key, hashes.SHA256())


def _handler(authorities: Authorities) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if authorities.mood == "refused":
                return self.answer(401, json.dumps({"message": "the token\nis too old"}).encode())
            if authorities.mood == "broken":
                return self.answer(500, b"")
            if self.path == "/api/v2/signingCert":
                return self.answer(201, json.dumps(authorities.certify(json.loads(body))).encode())
            if authorities.mood == "no timestamp":
                return self.answer(200, bytes.fromhex("30053003020102"))
            if authorities.mood == "of something else":
                body = body.replace(body[24:56], bytes(32), 1)
            return self.answer(200, authorities.stamp(body))

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
