"""A real web server on loopback whose answers a test can script."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path


class Web:
    """Serves a folder; ``script[path]`` is a list of answers that come first: (status, headers, body) or a function of the handler."""

    def __init__(self, folder: Path) -> None:
        self.script: dict[str, list[tuple[int, dict, bytes] | Callable]] = {}
        self.requests: Counter[str] = Counter()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            # One request a connection: a server that was closed is really gone.
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                web.requests[self.path] += 1
                planned = web.script.get(self.path)
                if planned:
                    answer = planned.pop(0)
                    if callable(answer):
                        answer(self)
                        return
                    status, headers, body = answer
                else:
                    path = folder / self.path.lstrip("/")
                    status, headers, body = (200, {}, path.read_bytes()) if path.is_file() else (404, {}, b"no such file")
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def cut_off(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Promise a long body and close the connection after a few bytes."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"only this")
    handler.wfile.flush()
    handler.close_connection = True
