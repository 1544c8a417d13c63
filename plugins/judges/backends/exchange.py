"""One request to a server and what may go wrong with it, told apart: passing, final, or nobody there."""

from __future__ import annotations

import email.utils
import http.client
import json
import math
import socket
import ssl
import time
import urllib.request
from ipaddress import ip_address
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from regionkit.plugins.judges.backends.bounded import BoundedHandler, BoundedSecureHandler
from regionkit.plugins.judges.backends.configs import HttpConfig
from regionkit.plugins.judges.backends.messages import NoAnswer, answer_in

#: Longest body that is read, in bytes: no answer to one question is as long.
MOST_BYTES = 16 << 20
#: Bytes that are read at a time.
_STEP = 1 << 16
#: Characters of what a server says that are repeated in messages.
_LONGEST = 200


class Fault(Exception):
    """A request that was not answered.

    Args:
        message: What went wrong, for a report.
        passing: Whether sending it again may help.
        reached: Whether a server answered, whatever it said.
        for_all: Whether it would go wrong for every other question as well.
        retry_after: Seconds that the server asks to wait; None where it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        passing: bool = True,
        reached: bool = True,
        for_all: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.passing, self.reached, self.for_all, self.retry_after = passing, reached, for_all, retry_after


class Server:
    """A chat-completions endpoint.

    Redirects are not followed: the key, and the captions, go to the address that was named and nowhere else. Proxies
    are those of the environment (``https_proxy``, ``no_proxy``), but none for a server on this machine.

    Args:
        config: Options of the judge.
        key: Its key, empty for none. It is never repeated, whatever the server says.
    """

    def __init__(self, config: HttpConfig, key: str) -> None:
        self.config = config
        self.url = endpoint(config.url)
        self._key = key
        # No handler for files, FTP or redirects: what an opener has no handler for, it refuses.
        self._opener = urllib.request.OpenerDirector()
        handlers: list[Any] = [
            BoundedHandler(),
            BoundedSecureHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.UnknownHandler(),
        ]
        parts = urlsplit(self.url)
        proxied = parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(parts.netloc)
        #: Name of the variable with the proxy that requests go through; empty for none. What it holds may be secret.
        self._proxy = f"{parts.scheme}_proxy" if proxied and not _is_of_this_machine(parts.hostname or "") else ""
        if self._proxy:
            handlers.append(urllib.request.ProxyHandler())
        for one in handlers:
            self._opener.add_handler(one)

    def send(self, body: bytes, prefill: str = "") -> str:
        """Send a request and return the words of the answer.

        Raises:
            Fault: There is none.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "regionkit"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self.config.timeout) as response:
                return answer_in(self._read(response), prefill)
        except HTTPError as error:
            with error:
                raise self._refused(error) from None
        except NoAnswer as error:
            raise Fault(self._plain(str(error))) from None
        except URLError as error:
            raise self._unreached(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreached(error) from None

    def _read(self, response: IO[bytes]) -> bytes:
        """Read a body up to its end.

        Raises:
            Fault: It is too long.
            TimeoutError: It has not ended in time.
        """
        parts, size = [], 0
        read = getattr(response, "read1", response.read)
        while part := read(_STEP):
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise Fault(f"the answer is longer than {MOST_BYTES >> 20} MiB", passing=False)
        left = getattr(response, "length", None)
        if left:  # read1 does not tell a connection that broke from the end
            raise http.client.IncompleteRead(b"", left)
        return b"".join(parts)

    def _refused(self, error: HTTPError) -> Fault:
        said = self._said(error)
        told = f"the server answered {error.code}{said}"
        if error.code in (401, 403):
            name = self.config.key_variable
            how = f"is the key in {name} the right one?" if name else "it wants a key: name its variable, key_variable"
            return Fault(f"{told}; {how}", passing=False, for_all=True)
        if error.code == 404:
            return Fault(f"{told}; {self.url} or the model '{self.config.model}' is not there", passing=False)
        if 300 <= error.code < 400:
            to = self._plain(str(error.headers.get("Location", "another address")))
            return Fault(f"the server sends on to {to}, which is not followed", passing=False, for_all=True)
        passing = error.code in (408, 409, 425, 429) or error.code >= 500
        return Fault(told, passing=passing, retry_after=_seconds(error.headers.get("Retry-After")))

    def _said(self, error: HTTPError) -> str:
        """Return what the body of a refusal says, shortened."""
        try:
            content = self._read(error) if error.fp is not None else b""
        except (Fault, OSError, http.client.HTTPException, ValueError):
            return ""
        text = content.decode("utf-8", "replace")
        try:
            held = json.loads(text)
            inner = held.get("error", held.get("message")) if isinstance(held, dict) else None
            inner = inner.get("message") if isinstance(inner, dict) else inner
            text = inner if isinstance(inner, str) else text
        except (ValueError, RecursionError):
            pass
        plain = self._plain(text)
        return f": {plain}" if plain else ""

    def _unreached(self, reason: object) -> Fault:
        if isinstance(reason, TimeoutError):
            return Fault(f"no answer within {self.config.timeout:g} seconds", reached=False)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return Fault(f"the certificate of {self.url} is not trusted", passing=False, reached=False, for_all=True)
        if isinstance(reason, ConnectionRefusedError | socket.gaierror):
            why = "the connection is refused" if isinstance(reason, ConnectionRefusedError) else "no host of that name"
            hint = "start the server, change the judge's url, or answer from kept replies with offline: true"
            through = f" through the proxy that {self._proxy} names" if self._proxy else ""
            return Fault(f"nobody answers at {self.url}{through}: {why}; {hint}", reached=False, for_all=True)
        text = self._plain(str(getattr(reason, "strerror", None) or reason))
        return Fault(f"the connection broke: {text or type(reason).__name__}", reached=False)

    def _plain(self, text: str) -> str:
        """Return what a server says on one line, shortened, and without the key, which some repeat."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())[:_LONGEST]


def endpoint(url: str) -> str:
    """Return the whole address for the address of a server up to its version."""
    base, mark, query = url.partition("?")
    base = base.partition("#")[0].rstrip("/")
    return (base if base.endswith("/chat/completions") else f"{base}/chat/completions") + mark + query


def _is_of_this_machine(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", "localhost.localdomain"))
    return address.is_loopback or address.is_unspecified


def _seconds(text: str | None) -> float | None:
    """Read a ``Retry-After``: seconds, or a date."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
