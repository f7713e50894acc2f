"""`tidewire status`: how is a running server?"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import sys
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from tidewire import limits
from tidewire.cli.outcome import FAILED, OK, UNSEEN, complain, printable, run_async
from tidewire.core.diagnosis.units import size_of, time_of
from tidewire.errors import ConfigError, Disconnected

DEFAULT_URL = "http://127.0.0.1:8800"
Status = dict[str, object]

_PATH = "/v1/status"
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_PORTS = {"http": 80, "https": 443}
# The top of the screen, and nothing below it (ECMA-48: CUP, ED).
_CLEAR = "\x1b[H\x1b[J"
# What no other server says of itself.
_OURS = {"epoch", "is_ready", "progress"}
# What is printed in words of its own; every other field is printed as it comes.
_SPOKEN = {"is_ready", "trouble", "log_commits", "log_bytes", "waiting"}


def status(
    *,
    url: Annotated[
        str, typer.Option(help="The server.", metavar="URL", envvar="TIDEWIRE_URL")
    ] = DEFAULT_URL,
    token: Annotated[
        str | None,
        typer.Option(help="Better set as TIDEWIRE_TOKEN.", metavar="T", envvar="TIDEWIRE_TOKEN"),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again each second, until Ctrl-C.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> int:
    """Ask a running server how it is.

    Exit code: 0 ready, 1 in trouble or not ready yet, 2 there is no answer of a Tidewire server.

    Examples:

      tidewire status

      TIDEWIRE_TOKEN=... tidewire status --url https://sync.example.org --watch

      tidewire status --json | jq .progress
    """
    address = _address(url)
    return run_async(lambda: _status(address, token, is_watched=watch, as_json=json))


async def _status(address: str, token: str | None, *, is_watched: bool, as_json: bool) -> int:
    while True:
        try:
            found = await asyncio.to_thread(_ask, address, token)
            code = OK if found["is_ready"] else FAILED
            text = msgspec.json.encode(found).decode() if as_json else _as_text(found)
            if is_watched and not as_json and sys.stdout.isatty():
                typer.echo(_CLEAR, nl=False)
            typer.echo(text)
        except Disconnected as error:
            complain(error)
            code = UNSEEN
        if not is_watched:
            return code
        await asyncio.sleep(limits.PROGRESS_S)


def _address(url: str) -> str:
    """Find the server's HTTP address, also when its WebSocket address was given."""
    try:
        parts = urlsplit(url)
        scheme, port = _SCHEMES.get(parts.scheme), parts.port
    except ValueError:
        scheme = port = None
        parts = urlsplit("")
    if scheme is None or not parts.hostname:
        raise ConfigError(f"url: {url!r} is not a server's address, such as {DEFAULT_URL}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{host}:{port or _PORTS[scheme]}"


def _ask(address: str, token: str | None) -> Status:
    parts = urlsplit(address)
    assert parts.hostname is not None
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname, parts.port, timeout=limits.CONNECT_TIMEOUT_S)
    try:
        # No redirect is followed: it would carry the token somewhere else.
        connection.request(
            "GET", _PATH, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        answer = connection.getresponse()
        body = answer.read(limits.STATUS_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Disconnected(f"no server at {address}: {printable(_why(error))}") from None
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.UNAUTHORIZED:
        said = "is not the right one" if token else "is needed"
        raise Disconnected(f"{address} says that the token {said}: set TIDEWIRE_TOKEN")
    return _read(address, answer.status, body)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _read(address: str, code: int, body: bytes) -> Status:
    try:
        found = msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        found = {}
    if code != http.HTTPStatus.OK or not found.keys() >= _OURS:
        raise Disconnected(f"{address} is not a Tidewire server: it answers {code} to {_PATH}")
    return found


def _as_text(found: Status) -> str:
    lines = [*_spoken(found)]
    lines += [_plain(name, value) for name, value in found.items() if name not in _SPOKEN]
    waiting = found.get("waiting")
    if isinstance(waiting, dict):
        lines += [("waiting", f"{table} for {who}") for table, who in waiting.items()]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{printable(name):<{width}}  {printable(text)}" for name, text in lines)


def _spoken(found: Status) -> Iterator[tuple[str, str]]:
    ready = "yes" if found["is_ready"] else "no"
    trouble = found.get("trouble")
    yield "ready", f"{ready}: {trouble}" if trouble else ready
    size = found.get("log_bytes")
    if isinstance(size, int):
        share = size / limits.LOG_BYTES
        yield (
            "log",
            f"{found.get('log_commits')} commits, {size_of(size)}, {share:.0%} of its window",
        )


def _plain(name: str, value: object) -> tuple[str, str]:
    """Say a field in words as good as its name allows: units come last in names."""
    match value:
        case int() | float() if name.endswith("_bytes"):
            return name.removesuffix("_bytes"), size_of(value)
        case int() | float() if name.endswith("_s"):
            return name.removesuffix("_s"), time_of(value)
        case None:
            return name, "none"
        case str():
            return name, value
        case dict():
            return name, ", ".join(" ".join(_plain(str(k), v)) for k, v in value.items()) or "none"
    return name, msgspec.json.encode(value).decode()
