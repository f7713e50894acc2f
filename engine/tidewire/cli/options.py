"""Options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tidewire import config
from tidewire.telemetry import configure_logging

DatabaseUrl = Annotated[
    str | None, typer.Option(help="PostgreSQL, as URL or key=value pairs.", metavar="URL")
]
Deployment = Annotated[
    str | None, typer.Option(help="Names the slot and the publication.", metavar="NAME")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; ./tidewire.toml if it is there.", metavar="FILE"),
]
Listen = Annotated[str | None, typer.Option(help="Address of the server.", metavar="HOST:PORT")]
Dev = Annotated[bool | None, typer.Option("--dev", help="Ask for no tokens; loopback only.")]
Tables = Annotated[
    list[str] | None,
    typer.Option(help="A table that clients may follow (repeat); default: any.", metavar="NAME"),
]
Hosts = Annotated[
    list[str] | None, typer.Option(help="Another name of this server (repeat).", metavar="NAME")
]
Origins = Annotated[
    list[str] | None,
    typer.Option(help="Pages of this origin may connect (repeat).", metavar="ORIGIN"),
]
Certificate = Annotated[str | None, typer.Option(help="PEM file; with --tls-key.", metavar="FILE")]
Key = Annotated[str | None, typer.Option(help="PEM file.", metavar="FILE")]
LogLevel = Annotated[
    str | None, typer.Option(help="debug, info, warning or error.", metavar="LEVEL")
]
LogFormat = Annotated[str | None, typer.Option(help="text or json.", metavar="FORMAT")]


def load(file: Path | None, **flags: object) -> config.Config:
    """Make the Config of a command and set up the log.

    Raises ConfigError.
    """
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in flags.items() if v != []}
    loaded = config.load(given, os.environ, file)
    configure_logging(loaded.log_level, loaded.log_format)
    return loaded
