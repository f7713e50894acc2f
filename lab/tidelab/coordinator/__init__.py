"""The coordinator: a server at which test agents in any language meet and share data."""

from __future__ import annotations

from tidelab.coordinator.serve import Address, OldClients, Options, serve

__all__ = ["Address", "OldClients", "Options", "serve"]
