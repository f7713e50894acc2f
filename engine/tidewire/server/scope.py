"""What an ASGI server says about a request, as far as we look at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers by their names in lower case."""
    headers: dict[str, str] = {}
    for raw_name, value in scope["headers"]:
        # A header that comes twice is one list (RFC 9110, 5.3), and no list is a sound Host.
        name, text = raw_name.decode("latin-1"), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def path_of(scope: Scope) -> str:
    """Return the path below where we are mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    # Some servers leave the root in the path, as the specification has it, and some take it out.
    return path[len(root) :] if path.startswith(f"{root}/") else path
