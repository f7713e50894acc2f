"""`tidewire tail`: print the changes of a table as they are committed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
import typer

from tidewire.cli import options
from tidewire.cli.outcome import OK, run_async
from tidewire.core.model.lsn import LSN_ZERO, parse_lsn

if TYPE_CHECKING:
    from tidewire import Client, Commit, Subscription

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
    where: Annotated[
        str | None, typer.Option(help="Only rows that satisfy this.", metavar="SQL")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="Value of $1, $2 ... in --where; repeat it.", metavar="VALUE"),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Only these, separated by commas.", metavar="NAMES")
    ] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Print the rows that are there first.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(help="Stop after so many lines.", metavar="N", min=1)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    log_level: options.LogLevel = "warning",
    log_format: options.LogFormat = None,
) -> int:
    """Print the changes of a table as they are committed, until Ctrl-C.

    Examples:

      tidewire tail orders

      tidewire tail orders --rows --where 'customer = $1' --param 'Blue Buoy'

      tidewire tail public.orders --columns id,status --json --limit 10 | jq .values
    """
    options.load(None, log_level=log_level, log_format=log_format)
    names = [name.strip() for name in columns.split(",")] if columns else None
    shape = {"where": where, "params": param or (), "columns": names, "initial": rows}
    return run_async(lambda: _tail(table, shape, url, token, limit=limit, as_json=json))


async def _tail(
    table: str,
    shape: dict[str, Any],
    url: str,
    token: str | None,
    *,
    limit: int | None,
    as_json: bool,
) -> int:
    from tidewire import Client

    printed = 0
    async with Client(url, token=token) as client:
        subscription = await client.subscribe(table, **shape)
        print(f"following {subscription.table}; Ctrl-C ends it", file=sys.stderr)
        # The rows are as of a position; commits up to there are in them already.
        shown = LSN_ZERO
        if shape["initial"]:
            shown = parse_lsn(client.position or "0/0")
            for document in list(_rows(client, subscription)):
                _print(document, as_json=as_json)
                printed += 1
                if printed == limit:
                    return OK
        async for commit in subscription.commits():
            for document in _changes(commit) if parse_lsn(commit.lsn) > shown else ():
                _print(document, as_json=as_json)
                printed += 1
                if printed == limit:
                    return OK
    return OK


def _rows(
    client: Client, subscription: Subscription[dict[str, Any]]
) -> Iterator[dict[str, object]]:
    for row in subscription.rows.values():
        key = [row[name] for name in subscription.key]
        facts = {"lsn": client.position, "at": None, "xid": None, "op": "row"}
        yield {**facts, "key": key, "values": row}


def _changes(commit: Commit) -> Iterator[dict[str, object]]:
    for change in commit.changes:
        yield {
            "lsn": commit.lsn,
            "at": commit.at,
            "xid": commit.xid,
            "op": change.op,
            "key": change.key,
            "values": change.values,
        }


def _print(document: dict[str, object], *, as_json: bool) -> None:
    print(_as_json(document) if as_json else _as_text(document), flush=True)


def _as_json(document: dict[str, object]) -> str:
    return msgspec.json.encode(document, enc_hook=_plain).decode()


def _as_text(document: dict[str, object]) -> str:
    values = document["values"]
    assert isinstance(values, dict)
    at = document["at"]
    when = f"{at:%H:%M:%S.%f}" if isinstance(at, datetime) else " " * 15
    shown = " ".join(f"{name}={_shown(value)}" for name, value in values.items())
    return f"{when} {document['op']:<8} {_shown(document['key'])} {shown}".rstrip()


def _shown(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise NotImplementedError(type(value).__name__)
