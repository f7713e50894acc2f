"""Tidewire keeps clients in step with a PostgreSQL database, in real time.

The public surface is what `__all__` names. Importing the package loads none of its shells: each
name is resolved when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidewire.client.connection import Client
    from tidewire.client.rows import Rows
    from tidewire.client.sqlite import SqliteStore
    from tidewire.client.subscription import Commit, Shape, Subscription, Transaction
    from tidewire.config import Config
    from tidewire.core.protocol.events import RowChange
    from tidewire.engine import Engine
    from tidewire.errors import (
        ConfigError,
        DatabaseError,
        Disconnected,
        Diverged,
        Lagged,
        RowError,
        StoreError,
        SyncError,
        TidewireError,
        WaitTimeout,
    )
    from tidewire.postgres.position import position

__version__ = "0.1.0"

_HOMES = {
    "Client": "tidewire.client.connection",
    "Commit": "tidewire.client.subscription",
    "Config": "tidewire.config",
    "ConfigError": "tidewire.errors",
    "DatabaseError": "tidewire.errors",
    "Disconnected": "tidewire.errors",
    "Diverged": "tidewire.errors",
    "Engine": "tidewire.engine",
    "Lagged": "tidewire.errors",
    "RowChange": "tidewire.core.protocol.events",
    "RowError": "tidewire.errors",
    "Rows": "tidewire.client.rows",
    "Shape": "tidewire.client.subscription",
    "SqliteStore": "tidewire.client.sqlite",
    "StoreError": "tidewire.errors",
    "Subscription": "tidewire.client.subscription",
    "SyncError": "tidewire.errors",
    "TidewireError": "tidewire.errors",
    "Transaction": "tidewire.client.subscription",
    "WaitTimeout": "tidewire.errors",
    "position": "tidewire.postgres.position",
}

__all__ = [
    "Client",
    "Commit",
    "Config",
    "ConfigError",
    "DatabaseError",
    "Disconnected",
    "Diverged",
    "Engine",
    "Lagged",
    "RowChange",
    "RowError",
    "Rows",
    "Shape",
    "SqliteStore",
    "StoreError",
    "Subscription",
    "SyncError",
    "TidewireError",
    "Transaction",
    "WaitTimeout",
    "position",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tidewire' has no attribute {name!r}")
