"""Which requests are let in at all: Host, Origin and the number of connections.

A page of any site can open a WebSocket to any address, and a name that an attacker controls can be
made to point at 127.0.0.1 (DNS rebinding). So the Host must be a name that is ours, and the Origin,
when a browser sends one, the same host, localhost or one that was allowed.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from tidewire.config import Config, is_loopback

_AUTHORITY = r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>\d{1,5}))?"
_HOST = re.compile(_AUTHORITY)
# What a browser sends, no more: scheme and authority, without user, path or query.
_ORIGIN = re.compile(r"https?://" + _AUTHORITY)


class Verdict(NamedTuple):
    """Why a request is refused: an HTTP status and a text."""

    status: int
    text: str


class Admission:
    """Judge requests by their headers."""

    def __init__(self, config: Config) -> None:
        host, _ = config.address
        self._hosts = {"localhost", host.lower(), *(name.lower() for name in config.allowed_hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in config.allowed_origins}
        self._connections_max = config.connections_max

    def judge(self, host: str | None, origin: str | None) -> Verdict | None:
        """Return why a request is refused, None when it is let in."""
        name = _host_name(host or "")
        if not self._is_ours(name):
            return Verdict(
                421, f"this server is not known as {name!r}; add it to allowed_hosts (--allow-host)"
            )
        if origin is not None and not self._may_ask(origin.lower(), name):
            text = f"pages of {origin!r} may not connect; add it to allowed_origins"
            return Verdict(403, f"{text} (--allow-origin)")
        return None

    def judge_count(self, connections: int) -> Verdict | None:
        """Return why one more connection is refused."""
        if connections < self._connections_max:
            return None
        return Verdict(503, "all connections are taken; try again later")

    def _is_ours(self, name: str) -> bool:
        # An IP address cannot be rebound, so it may always stand there.
        return name in self._hosts or _is_address(name)

    def _may_ask(self, origin: str, host: str) -> bool:
        if origin in self._origins:
            return True
        match = _ORIGIN.fullmatch(origin)
        if match is None or int(match["port"] or 0) > 65535:
            return False
        name = match["v6"] or match["name"]
        return name in ("localhost", host) or (_is_address(name) and is_loopback(name))


def _host_name(header: str) -> str:
    match = _HOST.fullmatch(header.strip().lower())
    return "" if match is None else match["v6"] or match["name"]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
