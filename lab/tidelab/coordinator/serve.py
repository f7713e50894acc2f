"""The composition root of the coordinator: storage, core, listener and their one TaskGroup."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tidelab.coordinator.keeper import Keeper
from tidelab.coordinator.listener import App, Listener, Receive, Scope, Send
from tidelab.coordinator.storage.storage import open_storage
from tidelab.coordinator.v2.app import CoordinatorApp
from tidelab.coordinator.v2.gate import OPEN, Gate, Tokens, is_loopback
from tidelab.core.coord.coordinator import Coordinator
from tidelab.errors import ConfigurationError
from tidelab.limits import COORD_DRAIN_S, COORD_RUN_KEEP_S


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the coordinator is started; raises ConfigurationError when that would not be safe."""

    host: str = "127.0.0.1"
    http_port: int = 9104
    """0 takes any that is free."""
    storage: Path | None = None
    """A SQLite file; None keeps everything in memory."""
    tokens: Tokens = field(default=OPEN, repr=False)
    """None at all make everybody on this machine an admin."""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    run_keep_s: float = COORD_RUN_KEEP_S

    def __post_init__(self) -> None:
        if not any(self.tokens) and not is_loopback(self.host):
            raise ConfigurationError(f"to listen on {self.host} at least one token is needed")
        if any(not token for tokens in self.tokens for token in tokens):
            raise ConfigurationError("a token is empty: everybody would have it")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError("TLS needs both, a certificate and its key")


class Address(NamedTuple):
    """Where the coordinator listens."""

    url: str
    port: int


async def serve(
    options: Options,
    stop: asyncio.Event,
    *,
    ready: Callable[[Address], None] | None = None,
    other: App | None = None,
) -> None:
    """Serve until `stop` is set; then answer what is on its way, keep it and close the sockets.

    `other` is an ASGI application that gets all paths but `/v2` and `/metrics`.

    Raises ConfigurationError and StorageError.
    """
    storage = open_storage(options.storage)
    try:
        core = Coordinator(options.run_keep_s)
        keeper = Keeper(core, storage)
        core.restore(await storage.load(), keeper.now())
        hosts = (options.host, *options.allowed_hosts)
        app = CoordinatorApp(keeper, Gate(options.tokens, hosts, options.allowed_origins))
        certificate, key = options.tls_certificate, options.tls_key
        listener = Listener(_by_path(app, other), options.host, options.http_port, certificate, key)
        if ready is not None:
            ready(_address_of(options, listener.port))
        await _run(keeper, app, listener, stop)
    finally:
        await storage.close()


async def _run(
    keeper: Keeper, app: CoordinatorApp, listener: Listener, stop: asyncio.Event
) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(keeper.run())
            serving = tasks.create_task(listener.run_until_stopped())
            stopping = tasks.create_task(stop.wait())
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            app.stop()
            listener.should_exit = True
            await asyncio.wait((serving,), timeout=COORD_DRAIN_S * 2)
            stopping.cancel()
            keeper.stop()
            await keeping
    except* (ConfigurationError, OSError) as errors:
        raise errors.exceptions[0] from None


def _by_path(app: CoordinatorApp, other: App | None) -> App:
    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        is_ours = path in ("/v2", "/metrics") or path.startswith("/v2/")
        await (app if is_ours or other is None else other)(scope, receive, send)

    return choose


def _address_of(options: Options, port: int) -> Address:
    scheme = "http" if options.tls_certificate is None else "https"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return Address(f"{scheme}://{host}:{port}", port)
