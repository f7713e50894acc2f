"""Who may come in: tokens with a role, and requests that no foreign page has made.

The one rule: without tokens everybody is an admin, and then only this machine is served
(`serve.Options` sees to that). A page of any site can send requests to any address, so a request
that comes from a page, or to a name that is not ours, is refused all the same. Pages can ask
without an `Origin`, by an image or a link; browsers say `Sec-Fetch-Site` then.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from websockets.typing import Subprotocol

from tidelab.core.coord.answer import Fault
from tidelab.core.coord.coordinator import Rights

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?")

SUBPROTOCOL = Subprotocol("tidelab.v2")
_BEARER = "bearer."
"""Before a token among the subprotocols that are offered, where base64url may stand."""

Headers = Iterable[tuple[bytes, bytes]]


class Tokens(NamedTuple):
    """The tokens of each role; none at all make everybody an admin."""

    observer: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()


OPEN = Tokens()


class Gate:
    """Judge requests by their headers."""

    def __init__(self, tokens: Tokens, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._tokens = [
            (token.encode(), rights)
            for rights, known in zip(Rights, tokens, strict=True)
            for token in known
        ]
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    def judge(self, headers: Headers, *, is_linked: bool = False) -> Rights | Fault:
        """Return what the request may do, or why it may do nothing.

        Pages of other sites may link to what `is_linked`: it tells and does nothing.
        """
        given: dict[bytes, str] = {}
        for name, value in headers:
            text = value.decode("latin-1")
            # A header that comes twice is one list, and no list is a sound Host.
            given[name] = f"{given[name]}, {text}" if name in given else text
        host = given.get(b"host", "")
        if not self._is_ours(host.strip().lower()):
            told = f"this server is not known as {host[:80]!r}"
            return Fault("forbidden", f"{told}; start it with --allow-host to add the name")
        origin = given.get(b"origin")
        if origin is not None and origin.lower() not in self._origins:
            told = f"pages of {origin[:80]!r} may not ask"
            return Fault("forbidden", f"{told}; start the server with --allow-origin to add them")
        is_foreign = given.get(b"sec-fetch-site") in ("cross-site", "same-site")
        if origin is None and is_foreign and not is_linked:
            told = "a page of another site may not ask without an Origin"
            return Fault("forbidden", f"{told}: an image or a link could do harm")
        offered = given.get(b"sec-websocket-protocol", "")
        return self.admit(given.get(b"authorization") or _authorization_of(offered))

    def admit(self, authorization: str | None) -> Rights | Fault:
        """Judge an `Authorization` header; looks at all tokens, whichever matches."""
        if not self._tokens:
            return Rights.ADMIN
        scheme, _, token = (authorization or "").partition(" ")
        bearer = token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        matches = [hmac.compare_digest(bearer, known) for known, _ in self._tokens]
        found = [rights for (_, rights), is_it in zip(self._tokens, matches, strict=True) if is_it]
        if not found:
            return Fault("unauthorized", "a valid token is needed: Authorization: Bearer ...")
        return max(found)

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1] or match[2]
        return name in self._hosts or _is_address(name)  # an address cannot be rebound


def _authorization_of(offered: str) -> str | None:
    """Find a token among subprotocols: no other header of a socket is a page's own."""
    for protocol in offered.split(","):
        kind, found, coded = protocol.strip().partition(_BEARER)
        if found and not kind:
            try:
                token = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
            except ValueError:
                return None
            return f"Bearer {token.decode('latin-1')}"
    return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
