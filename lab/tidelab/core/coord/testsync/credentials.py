"""Who may take part: one name and one password for all agents.

The order is the original's. HTTP asks for a Basic header, whatever it holds when nothing is
configured. A socket is open when nothing is configured; otherwise a Basic header decides, and only
without one do `username` and `password` in the query, for browsers, which cannot send headers.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from urllib.parse import parse_qs

_QUERY_FIELDS_MAX = 100  # of a query string: two are read


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password; both empty means that nobody is asked."""

    username: str
    password: str = field(repr=False)

    @property
    def is_open(self) -> bool:
        """Tell whether everybody may take part."""
        return not (self.username or self.password)

    def admit_request(self, authorization: str | None) -> bool:
        """Judge an HTTP request."""
        given = read_basic(authorization)
        return given is not None and self._are(*given)

    def admit_socket(self, authorization: str | None, query: str) -> bool:
        """Judge an agent that registers."""
        given = read_basic(authorization) or read_query(query)
        return self._are(*given)

    def _are(self, username: str, password: str) -> bool:
        # Both are compared, in a time that does not tell how much of them was right.
        is_user = hmac.compare_digest(_bytes(username), _bytes(self.username))
        is_password = hmac.compare_digest(_bytes(password), _bytes(self.password))
        return self.is_open or is_user & is_password


NOBODY_IS_ASKED = Credentials("", "")


def read_basic(authorization: str | None) -> tuple[str, str] | None:
    """Read name and password from a Basic header, if it is one."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.casefold() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    username, colon, password = decoded.decode(errors="surrogateescape").partition(":")
    return (username, password) if colon else None


def read_query(query: str) -> tuple[str, str]:
    """Read name and password from a query string; what is missing is empty."""
    try:
        fields = parse_qs(query, max_num_fields=_QUERY_FIELDS_MAX)
    except ValueError:
        return "", ""
    return fields.get("username", [""])[0], fields.get("password", [""])[0]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
