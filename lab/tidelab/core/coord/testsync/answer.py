"""Answers of both ports to HTTP requests: status, headers and body as old clients know them."""

from __future__ import annotations

import html
from dataclasses import dataclass

import msgspec

from tidelab.core.coord.testsync.content_type import content_type
from tidelab.core.coord.testsync.limits import PLAIN_ANSWER_BYTES_MAX

Header = tuple[str, str]

_TEXT: Header = ("Content-Type", "text/plain; charset=utf-8")
_JSON: Header = ("Content-Type", "application/json; charset=UTF-8")
_NO_SNIFFING: Header = ("X-Content-Type-Options", "nosniff")
_CLOSE: Header = ("Connection", "close")
# Stored bytes may be a page with scripts; who looks at it in a browser is logged in here.
_SANDBOX: Header = ("Content-Security-Policy", "sandbox")


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole HTTP answer."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()

    def headers_for(self, method: str) -> tuple[Header, ...]:
        """Return the headers with the length; without one the body goes out in chunks."""
        has_length = self.body if method == "HEAD" else len(self.body) <= PLAIN_ANSWER_BYTES_MAX
        length = ("Content-Length", str(len(self.body)))
        return (*self.headers, length) if has_length else self.headers


def text(body: str) -> Answer:
    """Answer with a line of text."""
    return Answer(200, f"{body}\n".encode(), (_TEXT,))


def data(body: bytes) -> Answer:
    """Answer with the data of a test."""
    if not body:
        return Answer(200)
    return Answer(200, body, (("Content-Type", content_type(body)), _SANDBOX))


def error(status: int, message: str) -> Answer:
    """Answer that a request was understood, and has failed."""
    body = msgspec.json.encode({"code": status, "error": message}) + b"\n"
    return Answer(status, body, (_JSON,))


def moved(location: str) -> Answer:
    """Send an agent to the same path without its last slash."""
    page = f'<a href="{html.escape(location)}">Moved Permanently</a>.\n\n'
    kind = ("Content-Type", "text/html; charset=utf-8")
    return Answer(301, page.encode(), (kind, ("Location", location)))


def cleaned(location: str) -> Answer:
    """Send a client to the same path without empty parts and dots."""
    return Answer(301, b"", (("Location", location),))


HEALTHY = Answer(200, b'{"status":"ok"}', (_JSON,))
NO_SUCH_PATH = Answer(404, b"404 page not found\n", (_TEXT, _NO_SNIFFING))
NO_SUCH_METHOD = Answer(405)
NOT_AUTHORIZED = error(401, "Request not authorized")
NO_SUCH_TEST = error(404, "Could not find test")
HAS_DATA = error(409, "Provided test already has set data")
TOO_LARGE = error(413, "Request data too large")
CANNOT_STORE = error(500, "Could not store data")
CANNOT_READ = error(500, "Could not read data")
TIMED_OUT = Answer(503, b'{"code":503,"error":"Request timed out"}', (_TEXT, _CLOSE))
NO_HANDSHAKE = Answer(400, b"Bad Request\n", (_TEXT, ("Sec-WebSocket-Version", "13"), _NO_SNIFFING))
