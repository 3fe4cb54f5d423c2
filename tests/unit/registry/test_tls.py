"""What is read of certificates, and when."""

from __future__ import annotations

import ssl
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import trustme

from topcoat.errors import UsageError
from topcoat.registry import Credentials, RegistryClient
from topcoat.registry.tls import Tls


class TlsTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.ca_file = Path(folder.name, "ca.crt")
        trustme.CA().cert_pem.write_to_path(self.ca_file)

    def test_who_speaks_to_nobody_reads_no_bundle(self) -> None:
        with patch.object(ssl, "create_default_context", side_effect=AssertionError("read")):
            RegistryClient("registry.example", Credentials(), self.ca_file).close()

    def test_many_clients_read_it_once(self) -> None:
        self.assertIs(Tls(self.ca_file).context(), Tls(self.ca_file).context())
        self.assertIsNot(Tls(self.ca_file).context(), Tls().context())

    def test_the_systems_authorities_and_the_given_one(self) -> None:
        given = {str(one["serialNumber"]) for one in Tls(self.ca_file).context().get_ca_certs()}
        self.assertTrue({str(one["serialNumber"]) for one in Tls().context().get_ca_certs()} < given)

    def test_comments_in_any_encoding(self) -> None:
        self.ca_file.write_bytes("Zertifizierungsstelle für alle\n".encode("latin-1") + self.ca_file.read_bytes())
        Tls(self.ca_file).context()

    def test_what_is_no_authority_is_said_at_once(self) -> None:
        self.ca_file.write_text("no certificate", encoding="ascii")
        for path in (self.ca_file, self.ca_file.with_name("missing")):
            with self.subTest(path.name), self.assertRaisesRegex(UsageError, f"certificate authority .*{path.name}"):
                Tls(path)
