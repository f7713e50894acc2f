"""Tidewire keeps clients in step with a PostgreSQL database, in real time.

The public surface is what `__all__` names. Importing the package loads none of its shells: each
name is resolved when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidewire.client.connection import Client, Commit, Subscription
    from tidewire.config import Config
    from tidewire.core.session.client import RowChange
    from tidewire.engine import Engine
    from tidewire.errors import (
        ConfigError,
        DatabaseError,
        Disconnected,
        Lagged,
        SyncError,
        TidewireError,
    )

__version__ = "0.1.0"

_HOMES = {
    "Client": "tidewire.client.connection",
    "Commit": "tidewire.client.connection",
    "Config": "tidewire.config",
    "ConfigError": "tidewire.errors",
    "DatabaseError": "tidewire.errors",
    "Disconnected": "tidewire.errors",
    "Engine": "tidewire.engine",
    "Lagged": "tidewire.errors",
    "RowChange": "tidewire.core.session.client",
    "Subscription": "tidewire.client.connection",
    "SyncError": "tidewire.errors",
    "TidewireError": "tidewire.errors",
}

__all__ = [
    "Client",
    "Commit",
    "Config",
    "ConfigError",
    "DatabaseError",
    "Disconnected",
    "Engine",
    "Lagged",
    "RowChange",
    "Subscription",
    "SyncError",
    "TidewireError",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tidewire' has no attribute {name!r}")
