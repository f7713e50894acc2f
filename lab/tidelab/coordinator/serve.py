"""The composition root of the coordinator: both protocols, their storages and ports, one TaskGroup.

::

    http_port   /v2, /metrics   the protocol of today      keeper -> core -> storage
                all else        data of TestSync's tests   storage of its own
    ws_port                     agents of TestSync         desk -> core
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tidelab.coordinator.connection import Connection
from tidelab.coordinator.keeper import Keeper
from tidelab.coordinator.listener import App, Listener, Receive, Scope, Send, Tls, bind
from tidelab.coordinator.metrics import Family
from tidelab.coordinator.storage.storage import open_storage
from tidelab.coordinator.testsync.app import AgentsApp, DataApp
from tidelab.coordinator.testsync.desk import AgentsDesk, now_ms
from tidelab.coordinator.testsync.storage import open_data
from tidelab.coordinator.v2 import metrics as v2_metrics
from tidelab.coordinator.v2.app import CoordinatorApp
from tidelab.coordinator.v2.gate import OPEN, Gate, Tokens, is_loopback
from tidelab.core.coord.coordinator import Coordinator
from tidelab.core.coord.testsync.credentials import NOBODY_IS_ASKED, Credentials
from tidelab.errors import ConfigurationError, LabError, StorageError
from tidelab.limits import COORD_RUN_KEEP_S


@dataclass(frozen=True, kw_only=True)
class OldClients:
    """How clients of TestSync are served."""

    ws_port: int = 9105
    """0 takes any that is free."""
    credentials: Credentials = NOBODY_IS_ASKED
    storage: Path | None = None
    """A SQLite file for the data of tests; None keeps them in memory."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the coordinator is started; raises ConfigurationError when that would not be safe."""

    host: str = "127.0.0.1"
    http_port: int = 9104
    """0 takes any that is free."""
    has_v2: bool = True
    storage: Path | None = None
    """A SQLite file for `/v2`; None keeps everything in memory."""
    tokens: Tokens = field(default=OPEN, repr=False)
    """None at all make everybody on this machine an admin."""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    run_keep_s: float = COORD_RUN_KEEP_S
    old_clients: OldClients | None = None
    """None serves no clients of TestSync, and needs one port only."""

    def __post_init__(self) -> None:
        if self.has_v2 and not any(self.tokens) and not is_loopback(self.host):
            told = f"to listen on {self.host} at least one token is needed"
            raise ConfigurationError(f"{told}; set TIDELAB_AGENT_TOKENS, or use --tokens")
        if any(not token for tokens in self.tokens for token in tokens):
            raise ConfigurationError("a token is empty: everybody would have it")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError("TLS needs both, a certificate and its key")
        if not self.has_v2 and self.old_clients is None:
            raise ConfigurationError("there is nothing to serve: neither /v2 nor TestSync")

    @property
    def tls(self) -> Tls | None:
        """Certificate and key, if both ports speak TLS."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return Tls(self.tls_certificate, self.tls_key)


class Address(NamedTuple):
    """Where the coordinator listens."""

    url: str
    port: int
    ws_url: str | None = None
    """Where agents of TestSync connect."""


async def serve(
    options: Options, stop: asyncio.Event, *, ready: Callable[[Address], None] | None = None
) -> None:
    """Serve until `stop` is set; then answer what is on its way, keep it and close the sockets.

    Raises ConfigurationError and StorageError.
    """
    async with AsyncExitStack() as held:
        http = held.enter_context(bind(options.host, options.http_port))
        old = _open_old(options.host, options.old_clients, held) if options.old_clients else None
        v2 = await _open_v2(options, old, held) if options.has_v2 else None
        listeners = _listeners(options, http, v2, old)
        if ready is not None:
            ready(_address_of(options, http, None if old is None else old.ws))
        with _said_plainly():
            await _run(listeners, v2, old, stop)


class _V2(NamedTuple):
    """What the protocol of today needs."""

    keeper: Keeper
    app: CoordinatorApp


class _Old(NamedTuple):
    """What clients of TestSync need."""

    ws: socket.socket
    desk: AgentsDesk
    data: DataApp


async def _open_v2(options: Options, old: _Old | None, held: AsyncExitStack) -> _V2:
    storage = open_storage(options.storage)
    held.push_async_callback(storage.close)
    core = Coordinator(options.run_keep_s)
    keeper = Keeper(core, storage)
    records = await storage.load()
    try:
        core.restore(records, keeper.now())
    except StorageError as error:
        raise StorageError(f"storage {options.storage}: {error}; give another file") from error
    gate = Gate(options.tokens, (options.host, *options.allowed_hosts), options.allowed_origins)

    def measure() -> list[Family]:
        return v2_metrics.families(keeper) + ([] if old is None else old.desk.measure())

    return _V2(keeper, CoordinatorApp(keeper, gate, measure))


def _open_old(host: str, settings: OldClients, held: AsyncExitStack) -> _Old:
    ws = held.enter_context(bind(host, settings.ws_port))
    storage = held.enter_context(contextlib.closing(open_data(settings.storage)))
    desk = AgentsDesk(settings.credentials, storage)
    return _Old(ws, desk, DataApp(settings.credentials, storage, desk.tally, now_ms))


def _listeners(
    options: Options, http: socket.socket, v2: _V2 | None, old: _Old | None
) -> list[Listener]:
    """Put the applications behind their ports."""
    data = None if old is None else old.data
    app = data if v2 is None else v2.app if data is None else _by_path(v2.app, data)
    assert app is not None, "`Options` wants one of them"
    sockets = None if v2 is None else functools.partial(Connection, v2.app.sockets)
    listeners = [Listener(http, app, options.tls, websocket=sockets)]
    if old is not None:
        agents = AgentsApp(old.desk.credentials, old.desk.tally)
        socket_of = functools.partial(Connection, old.desk)
        listeners.append(Listener(old.ws, agents, options.tls, websocket=socket_of))
    return listeners


async def _run(
    listeners: list[Listener], v2: _V2 | None, old: _Old | None, stop: asyncio.Event
) -> None:
    """Run until `stop`; then end in the order in which one thing needs the other."""
    async with asyncio.TaskGroup() as tasks:
        if v2 is not None:
            tasks.create_task(v2.keeper.run())
        if old is not None:
            tasks.create_task(old.desk.run())
        serving = [tasks.create_task(each.run_until_stopped()) for each in listeners]
        await stop.wait()
        if v2 is not None:
            v2.app.stop()
        for listener in listeners:
            listener.stop()
        await asyncio.wait(serving)
        if v2 is not None:
            v2.keeper.stop()
        if old is not None:
            old.desk.stop()


def _by_path(v2: App, data: App) -> App:
    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        is_v2 = path in ("/v2", "/metrics") or path.startswith("/v2/")
        await (v2 if is_v2 else data)(scope, receive, send)

    return choose


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    """Raise an error of ours as itself, and not in a group."""
    try:
        yield
    except BaseExceptionGroup as group:
        for error in group.exceptions:
            if isinstance(error, LabError):
                raise error from None
        raise


def _address_of(options: Options, http: socket.socket, ws: socket.socket | None) -> Address:
    secure = "" if options.tls is None else "s"
    ws_url = None if ws is None else f"ws{secure}://{_authority(ws)}"
    return Address(f"http{secure}://{_authority(http)}", http.getsockname()[1], ws_url)


def _authority(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
