"""A Slack that is not Slack's, for workers in processes of their own: takes messages at an incoming webhook and remembers them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # the library's name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = orjson.loads(body)
        self.server.heard.append(message)
        if self.server.silent:
            self.server.unanswered.append(message)
            time.sleep(1)  # whoever posted is gone by then
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class FakeSlack(ThreadingHTTPServer):
    """What was heard, in its order; when `silent` it takes a message and does not say that it has."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.heard: list[dict[str, Any]] = []
        self.unanswered: list[dict[str, Any]] = []  # those of what was heard that nobody was told of
        self.silent = False
        self.url = f"http://127.0.0.1:{self.server_port}/services/T/B/x"

    @property
    def texts(self) -> list[str]:
        """Return what the messages say in one line each."""
        return [one["text"] for one in self.heard]


@contextlib.contextmanager
def listening() -> Iterator[FakeSlack]:
    """Listen on a free port for the length of the block."""
    server = FakeSlack()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
