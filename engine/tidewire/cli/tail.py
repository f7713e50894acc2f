"""`tidewire tail`: print the changes of a table as they are committed."""

from __future__ import annotations

import sys
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
import typer

from tidewire.cli import options
from tidewire.cli.outcome import OK, run_async

DEFAULT_URL = "ws://127.0.0.1:8800/v1/sync"


def tail(
    table: Annotated[str, typer.Argument(help="Table to follow: name or schema.name.")],
    *,
    url: Annotated[
        str, typer.Option(help="The server.", metavar="URL", envvar="TIDEWIRE_URL")
    ] = DEFAULT_URL,
    token: Annotated[
        str | None,
        typer.Option(help="Better set as TIDEWIRE_TOKEN.", metavar="T", envvar="TIDEWIRE_TOKEN"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Stop after so many changes.", metavar="N", min=1)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per change.")] = False,
    log_level: options.LogLevel = "warning",
    log_format: options.LogFormat = None,
) -> int:
    """Print the changes of a table as they are committed, until Ctrl-C.

    Examples:

      tidewire tail orders

      tidewire tail public.orders --json --limit 10 | jq .values
    """
    options.load(None, log_level=log_level, log_format=log_format)
    return run_async(lambda: _tail(table, url, token, limit=limit, as_json=json))


async def _tail(
    table: str, url: str, token: str | None, *, limit: int | None, as_json: bool
) -> int:
    from tidewire import Client

    printed = 0
    async with Client(url, token=token) as client:
        subscription = await client.subscribe(table)
        print(f"following {subscription.table}; Ctrl-C ends it", file=sys.stderr)
        async for commit in subscription.commits():
            for change in commit.changes:
                document = {
                    "lsn": commit.lsn,
                    "at": commit.at,
                    "xid": commit.xid,
                    "op": change.op,
                    "key": change.key,
                    "values": change.values,
                }
                print(_as_json(document) if as_json else _as_text(document), flush=True)
                printed += 1
                if printed == limit:
                    return OK
    return OK


def _as_json(document: dict[str, object]) -> str:
    return msgspec.json.encode(document, enc_hook=_plain).decode()


def _as_text(document: dict[str, object]) -> str:
    values = document["values"]
    assert isinstance(values, dict)
    at = document["at"]
    assert isinstance(at, datetime)
    shown = " ".join(f"{name}={_shown(value)}" for name, value in values.items())
    return f"{at:%H:%M:%S.%f} {document['op']:<8} {_shown(document['key'])} {shown}".rstrip()


def _shown(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise NotImplementedError(type(value).__name__)
