"""Sockets cost descriptors: ask for as many as the system gives."""

from __future__ import annotations

import resource


def raise_descriptors() -> int:
    """Raise the soft limit to the hard one; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
