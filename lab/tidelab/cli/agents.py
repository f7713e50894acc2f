"""`tidelab agents serve`: the place where agents of a test meet."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json as json_module
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidelab.cli.outcome import INTERRUPTED, PASSED
from tidelab.core.coord.testsync.limits import FILES_MAX
from tidelab.limits import COORD_GARBAGE_OBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidelab.coordinator import Address, Options
    from tidelab.core.coord.testsync.configuration import Configuration

FILE = "configuration.json"
FOLDER = Path("config")

Folder = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", "--configDir", metavar="DIR",
        help=f"The folder of {FILE}; without it ./{FOLDER}, if that is there.",
    ),
]  # fmt: skip
Host = Annotated[
    str | None, typer.Option(metavar="NAME", help="Where to listen, in place of 127.0.0.1.")
]
HttpPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, metavar="PORT", help="In place of 9104; 0: any that is free."),
]
WsPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, metavar="PORT", help="In place of 9105; 0: any that is free."),
]
Store = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Keep /v2 in this SQLite file, not in memory.")
]
TokensFile = Annotated[
    Path | None,
    typer.Option(
        "--tokens", metavar="FILE", help="Tokens of /v2: in each line a role and a token."
    ),
]
AllowHost = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Another name of this server, for /v2.")
]
AllowOrigin = Annotated[
    list[str] | None, typer.Option(metavar="URL", help="A site whose pages may use /v2.")
]
Certificate = Annotated[
    Path | None, typer.Option("--tls-certificate", metavar="FILE", help="Speak TLS on both ports.")
]
Key = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key.")
]
NoTestSync = Annotated[bool, typer.Option("--no-testsync", help="Serve /v2 only.")]
Check = Annotated[bool, typer.Option("--check", help="Start nothing; say what would be served.")]
Json = Annotated[bool, typer.Option("--json", help="Tell as one JSON object per line.")]


def serve(
    *,
    config: Folder = None,
    host: Host = None,
    http_port: HttpPort = None,
    ws_port: WsPort = None,
    store: Store = None,
    tokens: TokensFile = None,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    no_testsync: NoTestSync = False,
    check: Check = False,
    json: Json = False,
) -> int:
    """Serve agents of a test: they wait for each other and share data.

    Agents in any language use /v2 on port 9104, by WebSocket or curl; the page at /v2/ shows who
    waits for whom. Clients of TestSync find their two ports, 9104 and 9105, as ever. Ctrl-C or
    SIGTERM ends it: whoever waits is told, and what is in files stays.

    Tokens of /v2 come from --tokens FILE or from TIDELAB_OBSERVER_TOKENS, TIDELAB_AGENT_TOKENS and
    TIDELAB_ADMIN_TOKENS. Without any, /v2 is served to this machine only. Clients of TestSync need
    no tokens, but what sync_client in the configuration says.

    Exit codes: 0 stopped or checked; 2 it cannot start, or its disk fails; 130 Ctrl-C.

    Examples (in FILE: `agent`, a space, and what `openssl rand -hex 16` prints):

      tidelab agents serve --store agents.db

      tidelab agents serve -c ./config --check

      tidelab agents serve --host 0.0.0.0 --no-testsync --tokens FILE
    """
    configuration, has_file = find_configuration(config)
    given = _given(host=host, http_port=http_port, ws_port=ws_port)
    configuration = dataclasses.replace(configuration, **given)
    options = _options(
        configuration, tokens, old_clients=not no_testsync, storage=store,
        allowed_hosts=tuple(allow_host or ()), allowed_origins=tuple(allow_origin or ()),
        tls_certificate=tls_certificate, tls_key=tls_key,
    )  # fmt: skip
    warnings = _warn(options, configuration)
    if check:
        print(_summary(options, configuration, warnings, as_json=json))
        return PASSED
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(options, configuration if has_file else None, as_json=json))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop where it is installed: agents meet in four fifths of the time."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _options(
    configuration: Configuration, tokens: Path | None, *, old_clients: bool, **others: Any
) -> Options:
    """Put together what is served."""
    from tidelab.cli.tokens import read_tokens
    from tidelab.coordinator import OldClients, Options
    from tidelab.coordinator.v2.gate import is_loopback

    known, old = read_tokens(os.environ, tokens), None
    host, path = configuration.host, configuration.sqlite_path
    has_v2 = any(known) or is_loopback(host) or not old_clients
    if old_clients:
        old = OldClients(
            ws_port=configuration.ws_port,
            credentials=configuration.credentials,
            storage=None if path is None else Path(path),
        )
    return Options(
        host=host, http_port=configuration.http_port, has_v2=has_v2, tokens=known, old_clients=old,
        **others,
    )  # fmt: skip


def _warn(options: Options, configuration: Configuration) -> list[str]:
    """Tell what is not meant so, not served, or open to everybody; return it, too."""
    warnings = [] if options.old_clients is None else list(configuration.warnings)
    if not options.has_v2:
        told = f"/v2 is not served: to listen on {options.host} it needs tokens"
        warnings.append(f"{told}; set TIDELAB_AGENT_TOKENS, or use --tokens")
    for warning in warnings:
        print(f"tidelab: warning: {warning}", file=sys.stderr)
    return warnings


def find_configuration(folder: Path | None) -> tuple[Configuration, bool]:
    """Read the configuration of a folder, and tell whether there is one.

    Raises:
        ConfigurationError: the folder was named and has none, or it makes no sense.
    """
    from tidelab.core.coord.testsync.configuration import DEFAULTS, read_configuration
    from tidelab.errors import ConfigurationError

    path = (folder or FOLDER) / FILE
    try:
        return read_configuration(path.read_bytes()), True
    except FileNotFoundError:
        if folder is None:
            print(f"tidelab: there is no {path}: defaults are used", file=sys.stderr)
            return DEFAULTS, False
        raise ConfigurationError(
            f"there is no {path}: name its folder with -c, or write one; {{}} is enough to begin"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


async def _serve(options: Options, logged: Configuration | None, *, as_json: bool) -> int:
    """Serve until a signal; only a configuration has a log file, and only old clients are in it."""
    from tidelab.coordinator import serve as serve_agents
    from tidelab.coordinator.testsync.log_file import logging_to_file

    stop, signals = asyncio.Event(), list[int]()

    def end(number: int) -> None:
        signals.append(number)
        stop.set()

    def greet(address: Address) -> None:
        _collect_seldom()
        print(_greeting(options, address, as_json=as_json), flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    _allow_many_sockets()
    with contextlib.ExitStack() as held:
        if logged is not None and options.old_clients is not None:
            held.enter_context(logging_to_file(logged))
        await serve_agents(options, stop, ready=greet)
    return INTERRUPTED if signals[0] == signal.SIGINT else PASSED


def _collect_seldom() -> None:
    """Look for garbage where there may be some: a collection stops every agent."""
    gc.collect()
    gc.freeze()  # what is there now stays for as long as the process
    # Requests that wait are no garbage, and by default 700 new ones would have all looked at.
    gc.set_threshold(COORD_GARBAGE_OBJECTS)


def _allow_many_sockets() -> None:
    """Ask the system for a file descriptor for each agent; many give a thousand unasked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # then there is room for fewer
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _kept(path: Path | None) -> str:
    return "memory" if path is None else str(path)


def _summary(
    options: Options, configuration: Configuration, warnings: list[str], *, as_json: bool
) -> str:
    facts: dict[str, object] = {
        "host": options.host,
        "http_port": options.http_port,
        "tls": "spoken" if options.tls else "not spoken",
        "v2": "served" if options.has_v2 else "not served",
        "store": _kept(options.storage),
        "tokens": "needed" if any(options.tokens) else "none",
    }
    if (old := options.old_clients) is not None:
        facts |= {
            "ws_port": old.ws_port,
            "storage": _kept(old.storage),
            "credentials": "none" if old.credentials.is_open else "needed",
            "log": f"{configuration.log_level} in {configuration.log_dir}",
        }
    if as_json:
        return json_module.dumps({**facts, "warnings": warnings})
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def _greeting(options: Options, address: Address, *, as_json: bool) -> str:
    """Say where agents meet; as JSON, all URLs that anybody could need."""
    socket = address.url.replace("http", "ws", 1)
    facts: dict[str, object] = {"http_url": address.url, "pid": os.getpid()}
    lines = []
    if options.has_v2:
        urls = {"v2_url": f"{address.url}/v2", "connect_url": f"{socket}/v2/connect"}
        facts |= {**urls, "page_url": f"{address.url}/v2/", "store": _kept(options.storage)}
        lines.append(f"agents meet at {address.url}/v2/, kept in {_kept(options.storage)}")
    if options.old_clients is not None:
        kept = _kept(options.old_clients.storage)
        facts |= {"ws_url": address.ws_url, "storage": kept}
        lines.append(f"TestSync's at {address.url} and {address.ws_url}, data in {kept}")
    return json_module.dumps(facts) if as_json else "\n".join(lines)
