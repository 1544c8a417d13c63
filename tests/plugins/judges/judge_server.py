"""A chat-completions endpoint on this machine that behaves as badly as a test tells it to."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from regionkit.plugins.judges.backends.configs import HttpConfig
from regionkit.plugins.judges.backends.http import HttpJudge


@dataclass(frozen=True)
class Act:
    """What the server does with one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    cut: bool = False
    drop: bool = False
    drip: bool = False


def says(text: object) -> Act:
    """Answer with words."""
    return Act(body=json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode())


@dataclass
class Bench:
    """The server's address, what it was sent, and what it does."""

    act: Callable[[dict[str, Any], int], Act]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, **options: Any) -> HttpJudge:
        """A judge that asks this server and waits for nothing."""
        quick = {"backoff": 0.0, "longest_wait": 0.0, "timeout": 5.0, "retries": 2, "model": "toy"}
        return HttpJudge(HttpConfig(url=self.url, **{**quick, **options}))


def prompt_in(body: dict[str, Any]) -> str:
    """The user's words of a request."""
    content = next(one["content"] for one in body["messages"] if one["role"] == "user")
    return content if isinstance(content, str) else content[-1]["text"]


@contextmanager
def serve(act: Callable[[dict[str, Any], int], Act]) -> Iterator[Bench]:
    """Serve until the block ends; ``act`` is given the request and how many came before."""
    bench = Bench(act)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with bench.lock:
                number = len(bench.bodies)
                bench.bodies.append(body)
                bench.headers.append(dict(self.headers))
            done = bench.act(body, number)
            if done.hang:
                bench.released.wait(10)
            if done.drop or done.hang:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            if done.drip:
                self.close_connection = True
                self._drip()
                return
            self.send_response(done.status)
            for name, value in done.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(done.body) + 100 * done.cut))
            self.end_headers()
            self.wfile.write(done.body)
            self.close_connection = True

        def _drip(self) -> None:
            """Send headers without an end, a few bytes at a time, for as long as somebody reads them."""
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(60):  # the reader allows a hundred
                if bench.released.wait(0.05):
                    return
                try:
                    self.wfile.write(f"X-{number}: y\r\n".encode())
                except OSError:
                    return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bench.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield bench
    finally:
        bench.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
