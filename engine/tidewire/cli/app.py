"""All commands, and the one place where their errors become lines and exit codes."""

from __future__ import annotations

from collections.abc import Sequence

import click
import typer

from tidewire import __version__
from tidewire.cli import outcome
from tidewire.cli.demo import demo
from tidewire.cli.serve import serve
from tidewire.cli.tail import tail
from tidewire.cli.teardown import teardown
from tidewire.errors import TidewireError

app = typer.Typer(
    name="tidewire",
    help="Keep clients in step with a PostgreSQL database, in real time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    epilog="Settings come from flags, then TIDEWIRE_* variables, then tidewire.toml.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, serve, tail, teardown):
    app.command()(command)


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Keep clients in step with a PostgreSQL database, in real time."""
    if show:
        print(__version__)
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = app(list(arguments), standalone_mode=False)
    except TidewireError as error:
        return outcome.complain(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return outcome.INTERRUPTED
    return code if isinstance(code, int) else outcome.OK
