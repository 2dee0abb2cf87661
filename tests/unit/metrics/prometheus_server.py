"""A small real HTTP server in the place of Prometheus, which answers as a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

JSON = "application/json"
Respond = Callable[[BaseHTTPRequestHandler], None]


def vector(*rows: tuple[str, str, float], **more: Any) -> bytes:
    """Return an answer with rows of host, number and time."""
    result = [{"metric": {"destination_service": host}, "value": [at, number]} for host, number, at in rows]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **more}).encode()


def page(body: bytes, status: int = 200, kind: str = JSON, **headers: str) -> Respond:
    """Answer with this."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def chunked(body: bytes) -> Respond:
    """Answer in chunks, without a length."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", JSON)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(body), 7):
            part = body[start : start + 7]
            handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return respond


def slowly(pause: float, body: bytes = b" " * 1000) -> Respond:
    """Answer with one byte at a time."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", JSON)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for byte in body:
            time.sleep(pause)
            handler.wfile.write(bytes([byte]))

    return respond


def broken_off(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Type", JSON)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.close_connection = True


class Server:
    """Where it is, what it was asked so far, and what it answers."""

    def __init__(self) -> None:
        self.respond: Respond = page(vector())
        self.forms: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.url = ""


class _Quiet(ThreadingHTTPServer):
    """Says nothing about clients that have had enough."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """Serve on the loopback address until the end of the block."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"]))
            server.paths.append(self.path)
            server.forms.append(parse_qs(form.decode()))
            server.headers.append(dict(self.headers))
            try:
                server.respond(self)
            except OSError:
                self.close_connection = True

        def do_GET(self) -> None:
            server.paths.append(self.path)
            page(vector())(self)

        def log_message(self, *_: object) -> None:
            pass

    http = _Quiet(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
