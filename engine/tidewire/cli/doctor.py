"""`tidewire doctor`: will this database do, and if not: what to do about it?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from tidewire.cli import options
from tidewire.cli.outcome import FAILED, OK, UNSEEN, complain, printable, run_async
from tidewire.config import Config
from tidewire.core.diagnosis.finding import Finding, Level
from tidewire.errors import DatabaseError

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def doctor(
    *,
    database_url: options.DatabaseUrl = None,
    deployment: options.Deployment = None,
    table: options.Tables = None,
    all: Annotated[
        bool, typer.Option("--all", help="Look at all tables, not only those of the settings.")
    ] = False,
    only_problems: Annotated[
        bool, typer.Option("--only-problems", help="Print nothing but problems.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: options.ConfigFile = None,
) -> int:
    """Examine a database, change nothing, and say what to do about each finding.

    What is printed below a finding can be pasted into psql, by a role that may do it. Tables are
    those of the settings; without any, those that are published already.

    Exit code: 0 no problem (warnings there may be), 1 a problem, 2 could not look.

    Examples:

      tidewire doctor --database-url postgresql://app@localhost/app --table orders

      tidewire doctor --all --only-problems

      tidewire doctor --json | jq -r '.findings[].remedy[]'
    """
    loaded = options.load(
        config, database_url=database_url, deployment=deployment, tables=table, log_level="error"
    )
    loaded.check_database()
    return run_async(lambda: _doctor(loaded, is_all=all, is_brief=only_problems, as_json=json))


async def _doctor(config: Config, *, is_all: bool, is_brief: bool, as_json: bool) -> int:
    from tidewire.postgres.examination import examine

    try:
        findings = await examine(
            config.database_url, config.deployment, config.tables, is_all=is_all
        )
    except DatabaseError as error:
        complain(error)
        return UNSEEN
    shown = [each for each in findings if each.level is Level.PROBLEM or not is_brief]
    if as_json:
        typer.echo(_as_json(config.deployment, shown, findings))
    else:
        _print(shown, findings)
    return FAILED if _count(findings, Level.PROBLEM) else OK


def _as_json(deployment: str, shown: Sequence[Finding], findings: Sequence[Finding]) -> str:
    document = {
        "deployment": deployment,
        "problems": _count(findings, Level.PROBLEM),
        "warnings": _count(findings, Level.WARNING),
        "findings": [
            {
                "id": each.id,
                "level": each.level,
                "subject": each.subject,
                "text": each.text,
                "remedy": each.remedy,
            }
            for each in shown
        ],
    }
    return msgspec.json.encode(document).decode()


def _print(shown: Sequence[Finding], findings: Sequence[Finding]) -> None:
    # Typer leaves colours out by itself where no terminal is.
    color = False if os.environ.get("NO_COLOR") else None
    for each in shown:
        level = typer.style(f"{each.level:<8}", fg=_COLOURS[each.level])
        about = each.id if each.subject is None else f"{each.id} {each.subject}"
        typer.echo(f"{level} {printable(about)}: {printable(each.text)}", color=color)
        for line in each.remedy if each.level is not Level.OK else ():
            typer.echo(f"           {printable(line)}", color=color)
    counts = [f"{level}: {_count(findings, level)}" for level in reversed(Level)]
    typer.echo(", ".join(counts), color=color)


def _count(findings: Sequence[Finding], level: Level) -> int:
    return sum(each.level is level for each in findings)
