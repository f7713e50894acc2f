"""`tidewire serve`: run a node."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from tidewire.cli import options
from tidewire.cli.outcome import OK, run_async
from tidewire.config import Config


def serve(
    *,
    database_url: options.DatabaseUrl = None,
    listen: Annotated[
        str | None, typer.Option(help="Address of the server.", metavar="HOST:PORT")
    ] = None,
    dev: Annotated[
        bool | None, typer.Option("--dev", help="Ask for no tokens; loopback only.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="A table that clients may follow (repeat); default: any.", metavar="NAME"
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name of this server (repeat).", metavar="NAME"),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Pages of this origin may connect (repeat).", metavar="ORIGIN"),
    ] = None,
    tls_certificate: Annotated[
        str | None, typer.Option(help="PEM file; with --tls-key.", metavar="FILE")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(help="PEM file.", metavar="FILE")] = None,
    deployment: options.Deployment = None,
    config: options.ConfigFile = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
) -> int:
    """Follow a database and serve its changes.

    Tokens are set with TIDEWIRE_TOKENS (or in the settings file), never as a flag, because flags
    can be read by everybody on the machine.

    Examples:

      tidewire serve --dev --database-url postgresql://app@localhost/app

      TIDEWIRE_TOKENS=$(openssl rand -hex 16) tidewire serve --listen 0.0.0.0:8800
    """
    loaded = options.load(
        config,
        database_url=database_url,
        listen=listen,
        dev=dev,
        tables=tuple(table) if table else None,
        allowed_hosts=tuple(allow_host) if allow_host else None,
        allowed_origins=tuple(allow_origin) if allow_origin else None,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        deployment=deployment,
        log_level=log_level,
        log_format=log_format,
    )
    return run_async(lambda: _serve(loaded))


async def _serve(config: Config) -> int:
    from tidewire.engine import Engine

    async with Engine(config):
        await asyncio.Event().wait()
    return OK
