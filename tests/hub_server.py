"""A hub on this machine: the few answers of huggingface.co that its client asks for before it has a file."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub.utils import close_session

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_NO_REVISION = (404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}, b"{}")


class Hub:
    """Repositories in memory, served on a port of 127.0.0.1.

    Attributes:
        repositories: Files by name for each ``ORG/NAME``.
        revisions: Branches and tags, the same in every repository and all of them at ``COMMIT``.
        lies: Content that is served instead of that whose hash the hub tells, by file name.
        requests: ``METHOD path`` of everything that was asked.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.revisions = {"main"}
        self.lies: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
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

    def publish(self, repository: str, *paths: Path) -> None:
        """Add files to a repository, and what is in folders; a folder's own name is no part of theirs."""
        files = self.repositories.setdefault(repository, {})
        for path in paths:
            inner = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
            root = path if path.is_dir() else path.parent
            files |= {one.relative_to(root).as_posix(): one.read_bytes() for one in inner}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a path."""
        words = [unquote(word) for word in urlsplit(path).path.strip("/").split("/")]
        if words[:2] == ["api", "models"]:
            return self._info("/".join(words[2:4]), words[5] if words[4:5] == ["revision"] else "main")
        if len(words) > 4 and words[2] == "resolve":
            if self._is_unknown(words[3]):
                return _NO_REVISION
            return self._file("/".join(words[:2]), "/".join(words[4:]))
        return 404, {}, b""

    def _is_unknown(self, revision: str) -> bool:
        return revision not in self.revisions | {COMMIT}

    def _info(self, repository: str, revision: str) -> tuple[int, dict[str, str], bytes]:
        files = self.repositories.get(repository)
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"{}"
        if self._is_unknown(revision):
            return _NO_REVISION
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


@contextmanager
def hub_of_this_machine(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """Serve a hub that the client of this process talks to, with a cache of its own; skip where nothing can be served.

    Args:
        monkeypatch: Of the test.
        cache: Folder of the cache.
    """
    server = Hub()
    if not server.is_reachable():
        server.close()
        pytest.skip("there is no loopback interface to serve a hub on")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
    template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for variable in ("REGIONKIT_OFFLINE", "HF_HUB_OFFLINE"):  # of a machine without a network, such as CI's
        monkeypatch.delenv(variable, raising=False)
    for variable in ("NO_PROXY", "no_proxy"):  # a proxy of the user's knows nothing of this machine's ports
        monkeypatch.setenv(variable, "127.0.0.1")
    close_session()  # one that was made before keeps the proxies of its time
    try:
        yield server
    finally:
        close_session()
        server.close()
