"""Where connections come from: a port of our own, or a server in which we are mounted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from tidewire.config import Config
from tidewire.server.app import App
from tidewire.server.node import Node


class Front(Protocol):
    """What an engine asks of it."""

    @property
    def url(self) -> str | None:
        """Where clients connect; None where only somebody else knows."""
        ...

    def sweep(self, now: float) -> None:
        """Cut connections that do not get as far as a request."""
        ...

    def stop(self) -> None:
        """Close all connections with 1012; `run_until_stopped` returns when they are gone."""
        ...

    async def run_until_stopped(self) -> None:
        """Serve."""
        ...


MakeFront: TypeAlias = Callable[[Config, App, Node], Front]
