"""A server that ends the connection with each answer, and sends the body late."""

import socket
import threading
import time
import unittest

from topcoat.registry import RegistryClient

BODY = b'{"name": "ns/a", "tags": ["t"]}'


class ClosingServerTest(unittest.TestCase):
    def test_a_body_that_comes_after_the_header_is_read(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                while b"\r\n\r\n" not in peer.recv(65536):
                    pass
                head = f"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
                peer.sendall(head.encode())
                time.sleep(0.3)  # http.client has closed its socket by now
                peer.sendall(BODY)

        threading.Thread(target=serve, daemon=True).start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        client = RegistryClient(host, plain_http=True)
        self.addCleanup(client.close)
        self.assertEqual(client.tags("ns/a"), ("t",))
