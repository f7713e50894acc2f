"""Tidewire for programs without an event loop: the same client, with calls that block."""

from __future__ import annotations

from typing import Any

from tidewire.client.blocking import Client, Subscription, Transaction

__all__ = ["Client", "Subscription", "Transaction", "position"]


def position(connection: Any) -> str:
    """Tell the position up to which the database has been written, as `X/Y`.

    Call it after COMMIT, on the connection that wrote; of psycopg or SQLAlchemy. Raises as
    `tidewire.position`.
    """
    from tidewire.postgres.position import position_blocking

    return position_blocking(connection)
