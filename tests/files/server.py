"""Local web server that supports ranges and has switchable faults."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

from capsbench.files.remote import RemoteFile


@dataclass
class Served:
    """Files, faults and requests of the server.

    Paths are ``/<mirror>/<name>``; a fault belongs to a mirror.
    """

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range
    agents: set[str] = field(default_factory=set)
    fail: dict[str, int] = field(default_factory=dict)  # responds with this status
    cut: dict[str, int] = field(default_factory=dict)  # sends only these bytes, once
    instead: dict[str, bytes] = field(default_factory=dict)  # serves this content
    ignore_range: set[str] = field(default_factory=set)  # always serves from the start
    wrong_range: set[str] = field(default_factory=set)  # responds with another range
    redirect: dict[str, str] = field(default_factory=dict)  # sends to this address
    no_length: set[str] = field(default_factory=set)  # sends no Content-Length
    delay: float = 0.0  # seconds before a response

    def add(self, name: str, content: bytes) -> None:
        self.files[name] = content

    def remote(self, name: str, *mirrors: str, known: bool = True) -> RemoteFile:
        """Describe a file at mirrors: with SHA-256 and size, or as a zip file if not ``known``."""
        content = self.files[name]
        return RemoteFile(
            name,
            sha256(content).hexdigest() if known else None,
            len(content) if known else None,
            tuple(f"{self.address}/{mirror}/{name}" for mirror in mirrors or ("a",)),
            None if known else "zip",
        )


@contextmanager
def serving() -> Iterator[Served]:
    """Run a server on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            _, mirror, name = self.path.split("/", 2)
            range_header = self.headers.get("Range")
            served.requests.append((self.path, range_header))
            served.agents.add(self.headers.get("User-Agent", ""))
            time.sleep(served.delay)
            if mirror in served.fail or name not in served.files:
                self.send_error(served.fail.get(mirror, 404))
                return
            if mirror in served.redirect:
                self.send_response(302)
                self.send_header("Location", served.redirect[mirror])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = served.instead.get(mirror, served.files[name])
            begin = 0
            if range_header is not None and mirror not in served.ignore_range:
                begin = int(range_header.removeprefix("bytes=").removesuffix("-"))
                begin += mirror in served.wrong_range
                if begin >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}"
                )
            else:
                self.send_response(200)
            if mirror not in served.no_length:
                self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            end = served.cut.pop(mirror, len(content))
            self.wfile.write(content[begin:end])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with patch.dict(os.environ, {"no_proxy": "127.0.0.1"}):
            yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
