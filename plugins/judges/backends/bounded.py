"""HTTP connections that end in time: status, headers and body together, however slowly a server lets them drip in."""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.request
from typing import Any


class _Remaining(io.RawIOBase):
    """Bytes of a connection, up to a moment.

    Args:
        raw: The bytes.
        connection: Where they come from; the time that is left is its time-out.
        deadline: The moment, on the monotonic clock.
    """

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, deadline: float) -> None:
        self._raw, self._connection, self._deadline = raw, connection, deadline

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there.

        Raises:
            TimeoutError: The moment is over.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close the connection with its bytes."""
        self._raw.close()
        super().close()


class _Bounded(http.client.HTTPConnection):
    """A connection whose time-out, which the library takes for each of its reads, is one for all of them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        assert self.timeout is not None
        self._deadline = time.monotonic() + self.timeout
        self.response_class = self._response  # type: ignore[assignment]

    def _response(self, connection: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(connection, *args, **options)
        raw: io.RawIOBase = response.fp.detach()
        response.fp = io.BufferedReader(_Remaining(raw, connection, self._deadline))
        return response


class _BoundedSecure(_Bounded, http.client.HTTPSConnection):
    """The same with TLS."""


class BoundedHandler(urllib.request.HTTPHandler):
    """Opens addresses of http, for at most the seconds that are asked for."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open an address."""
        return self.do_open(_Bounded, req)


class BoundedSecureHandler(urllib.request.HTTPSHandler):
    """Opens addresses of https, for at most the seconds that are asked for."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open an address."""
        return self.do_open(_BoundedSecure, req)
