"""The embedded PostgreSQL server under its public name."""

from __future__ import annotations

from tidewire.postgres.embedded import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
