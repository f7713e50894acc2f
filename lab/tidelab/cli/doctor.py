"""`tidelab doctor`: find what killed runs have left in a database."""

from __future__ import annotations

from typing import Annotated

import typer

from tidelab.cli import options
from tidelab.cli.outcome import FAILED, PASSED, print_json

DatabaseUrl = Annotated[
    str,
    typer.Option(
        envvar="TIDELAB_DATABASE_URL", help="PostgreSQL, as URL or key=value pairs.", metavar="URL"
    ),
]
Drop = Annotated[bool, typer.Option("--drop", help="Drop them.")]


def doctor(*, database_url: DatabaseUrl, drop: Drop = False, json: options.Json = False) -> int:
    """List replication slots and publications of runs that are over.

    A slot keeps write-ahead log on disk for as long as it exists. A run drops its own; one that was
    killed cannot. Passes when nothing is left.

    Examples:

      tidelab doctor --database-url postgresql://app@localhost/app

      tidelab doctor --database-url postgresql://app@localhost/app --drop
    """
    from tidelab.env import postgres

    with postgres.connect(database_url) as connection, postgres.told():
        found = postgres.orphans(connection)
        for name in found if drop else ():
            postgres.drop(connection, name)
    if json:
        print_json({"orphans": found, "dropped": drop})
    else:
        verb = "dropped" if drop else "left behind:"
        print("\n".join(f"{verb} {name}" for name in found) or "nothing is left behind")
    return FAILED if found and not drop else PASSED
