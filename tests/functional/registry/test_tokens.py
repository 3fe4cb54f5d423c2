"""Bearer tokens: a real registry in token mode, and a small token server that signs for it."""

from __future__ import annotations

import base64
import http.server
import json
import secrets
import tempfile
import threading
import time
import unittest
import urllib.parse
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.functional.registry.base import QUICK, make_image, publisher_over, random_bytes
from tests.needs import need
from topcoat.process.network import free_port
from topcoat.registry import AccessError, Credentials, Login, RegistryClient
from topcoat_demo.registry import RegistryServer

_LEEWAY = 60  # seconds that the registry grants after a token's end


def encode(data: bytes | dict) -> str:
    if isinstance(data, dict):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """Gives every right that is asked for to who knows the password."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        leaf = authority.issue_cert("tokens")
        self.bundle = folder / "tokens.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        self._key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        self._chain = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).public_bytes(serialization.Encoding.DER)
        self.password = secrets.token_hex(8)
        self.seconds = 300.0
        self.asked: list[list[str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = "Basic " + base64.b64encode(f"ci:{outer.password}".encode()).decode()
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                known = self.headers.get("Authorization") == wanted
                body = json.dumps(outer.token(query.get("scope", [])) if known else {}).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, scopes: list[str]) -> dict:
        self.asked.append(scopes)
        now = time.time()
        access = [{"type": kind, "name": name, "actions": actions.split(",")} for kind, name, actions in (scope.split(":") for scope in scopes)]
        elliptic = isinstance(self._key, ec.EllipticCurvePrivateKey)
        header = {"typ": "JWT", "alg": "ES256" if elliptic else "RS256", "x5c": [base64.b64encode(self._chain).decode()]}
        claims = {
            "iss": "issuer",
            "sub": "ci",
            "aud": "registry",
            "exp": int(now + self.seconds - _LEEWAY),
            "nbf": int(now - 600),
            "iat": int(now),
            "jti": secrets.token_hex(4),
            "access": access,
        }
        text = f"{encode(header)}.{encode(claims)}"
        if elliptic:
            r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        else:
            signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        # it promises more than it keeps, as servers with another clock do: only the registry's 401 tells the truth
        return {"token": f"{text}.{encode(signature)}", "expires_in": 3600}


class Tokens(unittest.TestCase):
    def setUp(self) -> None:
        need("docker-registry")
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.tokens = TokenServer(folder)
        self.addCleanup(self.tokens.close)
        auth = {
            "token": {
                "realm": f"http://{self.tokens.host}/token",
                "service": "registry",
                "issuer": "issuer",
                "rootcertbundle": str(self.tokens.bundle),
            }
        }

        class Server(RegistryServer):
            def ping(self) -> int:  # it wants a token, which is an answer too
                return 200 if super().ping() in (200, 401) else 0

        self.server = self.enterContext(Server(folder / "registry", password=False, port=free_port(), options={"auth": auth}))

    def client(self, password: str | None = None) -> RegistryClient:
        credentials = Credentials({self.server.host: Login("ci", password or self.tokens.password)})
        client = RegistryClient(self.server.host, credentials, self.server.ca_file, plain_hosts=frozenset({self.tokens.host}), limits=QUICK)
        self.addCleanup(client.close)
        return client

    def test_push_mount_and_read_with_tokens(self) -> None:
        client = self.client()
        image, blobs = make_image(random_bytes("tokens", 5000))
        publisher = publisher_over(client)
        publisher.publish(f"{self.server.host}/ns/a", image, blobs, ["t"])
        published = publisher.publish(f"{self.server.host}/ns/b", image, blobs, ["t"])
        self.assertGreaterEqual(published.bytes_mounted, 5000)
        self.assertIn(["repository:ns/b:pull,push", "repository:ns/a:pull"], self.tokens.asked)  # a mount needs both
        self.assertEqual(("t",), client.tags("ns/a"))
        asked = len(self.tokens.asked)
        client.tags("ns/a")
        self.assertEqual(asked, len(self.tokens.asked))  # kept

    def test_a_token_that_ended_is_renewed(self) -> None:
        client = self.client()
        image, blobs = make_image(b"x")
        publisher_over(client).publish(f"{self.server.host}/ns/a", image, blobs, ["t"])
        self.tokens.seconds = 2
        client = self.client()
        self.assertEqual(("t",), client.tags("ns/a"))
        asked = len(self.tokens.asked)
        time.sleep(3.1)
        self.assertEqual(("t",), client.tags("ns/a"))
        self.assertEqual(asked + 1, len(self.tokens.asked))

    def test_a_wrong_password_is_told_and_shown_nowhere(self) -> None:
        canary = secrets.token_hex(16)
        with self.assertRaises(AccessError) as caught:
            self.client(canary).tags("ns/a")
        self.assertNotIn(canary, str(caught.exception))
        self.assertNotIn(base64.b64encode(f"ci:{canary}".encode()).decode(), str(caught.exception))
