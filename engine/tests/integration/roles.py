"""Roles that may little, for tests of what they may."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

from engine.tests.integration.clinic import execute
from engine.tests.integration.live import Live


@contextlib.contextmanager
def role_in(live: Live, attributes: str = "") -> Iterator[tuple[str, str]]:
    """Make a role that may nothing but log in; yield its name and its URL."""
    name = f"r_{secrets.token_hex(4)}"
    execute(live.url, f"CREATE ROLE {name} LOGIN PASSWORD 'p' {attributes}")
    parts = urlsplit(live.url)
    url = parts._replace(netloc=f"{name}:p@{parts.netloc.rpartition('@')[2]}").geturl()
    try:
        yield name, url
    finally:
        execute(
            live.url, f"REASSIGN OWNED BY {name} TO tidewire", f"DROP OWNED BY {name}",
            f"DROP ROLE {name}",
        )  # fmt: skip
