"""A hub on this machine: the few answers of huggingface.co that its client asks for before it has a file."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories in memory, served on a port of 127.0.0.1.

    Attributes:
        repositories: Files by name for each ``ORG/NAME``.
        lies: Content that is served instead of that whose hash the hub tells, by file name.
        requests: ``METHOD path`` of everything that was asked.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.lies: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def is_reachable(self) -> bool:
        """Say whether this machine can talk to itself; a process cut off from all networks cannot."""
        try:
            socket.create_connection(("127.0.0.1", self.server.server_port), timeout=5).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a path."""
        words = [unquote(word) for word in urlsplit(path).path.strip("/").split("/")]
        if words[:2] == ["api", "models"]:
            return self._info("/".join(words[2:4]))
        if len(words) > 4 and words[2] == "resolve":
            return self._file("/".join(words[:2]), "/".join(words[4:]))
        return 404, {}, b""

    def _info(self, repository: str) -> tuple[int, dict[str, str], bytes]:
        files = self.repositories.get(repository)
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"{}"
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "lfs": {"sha256": _sha256(data), "size": len(data), "pointerSize": 1},
            }
            for name, data in files.items()
        ]
        body: dict[str, Any] = {
            "_id": "0", "id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings, "private": False,
            "tags": [], "downloads": 0, "cardData": {"license": "mit"},
        }  # fmt: skip
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def _file(self, repository: str, name: str) -> tuple[int, dict[str, str], bytes]:
        files = self.repositories.get(repository, {})
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        body = self.lies.get(name, files[name])
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{_sha256(files[name])}"', "Accept-Ranges": "bytes"}, body

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve(body=True)

            def do_HEAD(self) -> None:
                self._serve(body=False)

            def _serve(self, *, body: bool) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                status, headers, content = hub.answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
