"""`tidelab agents`: where agents of a test meet."""

from __future__ import annotations

import asyncio
import contextlib
import json as json_module
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidelab.cli.outcome import INTERRUPTED, PASSED
from tidelab.core.coord.testsync.limits import FILES_MAX

if TYPE_CHECKING:
    from tidelab.coordinator.testsync.server import Addresses
    from tidelab.core.coord.testsync.configuration import Configuration

FILE = "configuration.json"

Folder = Annotated[
    Path,
    typer.Option("--config", "-c", "--configDir", help=f"The folder of {FILE}.", metavar="DIR"),
]
Check = Annotated[bool, typer.Option("--check", help=f"Only read {FILE}, and say what it means.")]
Json = Annotated[bool, typer.Option("--json", help="Tell as one JSON object per line.")]


def serve(*, config: Folder = Path("config"), check: Check = False, json: Json = False) -> int:
    """Share data and checkpoints among agents of a test, for clients of TestSync.

    Data of a test are kept over HTTP (port 9104); agents wait for each other over WebSocket (port
    9105). Ctrl-C or SIGTERM ends it, and closes all connections.

    Exit codes: 0 stopped, or the check found nothing wrong; 2 it cannot start; 130 Ctrl-C.

    Examples:

      tidelab agents serve -c ./config

      tidelab agents serve -c ./config --check

      tidelab agents serve -c ./config --json
    """
    configuration = load(config)
    for warning in configuration.warnings:
        print(f"tidelab: warning: {warning}", file=sys.stderr)
    if check:
        print(_summary(configuration, as_json=json))
        return PASSED
    return asyncio.run(_serve(configuration, as_json=json))


def load(folder: Path) -> Configuration:
    """Read the configuration of a folder.

    Raises:
        ConfigurationError: there is none, or it makes no sense.
    """
    from tidelab.core.coord.testsync.configuration import read_configuration
    from tidelab.errors import ConfigurationError

    path = folder / FILE
    try:
        return read_configuration(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no {path}: name its folder with -c, or write one; {{}} is enough to begin"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


async def _serve(configuration: Configuration, *, as_json: bool) -> int:
    from tidelab.coordinator.testsync.log_file import logging_to_file
    from tidelab.coordinator.testsync.server import serving

    loop = asyncio.get_running_loop()
    stopped_by: asyncio.Future[int] = loop.create_future()
    _allow_many_sockets()
    with logging_to_file(configuration):
        async with serving(configuration) as addresses:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, _set_once, stopped_by, number)
            print(_greeting(configuration, addresses, as_json=as_json), flush=True)
            signal_number = await stopped_by
    return INTERRUPTED if signal_number == signal.SIGINT else PASSED


def _set_once(future: asyncio.Future[int], value: int) -> None:
    if not future.done():
        future.set_result(value)


def _allow_many_sockets() -> None:
    """Ask the system for a file descriptor for each agent; many give a thousand unasked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # then there is room for fewer
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _summary(configuration: Configuration, *, as_json: bool) -> str:
    facts: dict[str, object] = {
        "host": configuration.host,
        "http_port": configuration.http_port,
        "ws_port": configuration.ws_port,
        "storage": configuration.sqlite_path or "memory",
        "credentials": "none" if configuration.credentials.is_open else "needed",
        "log": f"{configuration.log_level} in {configuration.log_dir}",
    }
    if as_json:
        return json_module.dumps({**facts, "warnings": configuration.warnings})
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def _greeting(configuration: Configuration, addresses: Addresses, *, as_json: bool) -> str:
    kept = configuration.sqlite_path or "memory"
    if as_json:
        facts = {"http_url": addresses.http_url, "ws_url": addresses.ws_url, "storage": kept}
        return json_module.dumps({**facts, "pid": os.getpid()})
    return f"agents meet at {addresses.http_url} and {addresses.ws_url}; data in {kept}"
