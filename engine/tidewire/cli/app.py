"""All commands, and the one place where their errors become lines and exit codes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer

from tidewire import __version__
from tidewire.cli import outcome
from tidewire.cli.demo import demo
from tidewire.cli.doctor import doctor
from tidewire.cli.serve import serve
from tidewire.cli.status import status
from tidewire.cli.tail import tail
from tidewire.cli.teardown import teardown
from tidewire.errors import TidewireError

P = ParamSpec("P")

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


def exiting(command: Callable[P, int]) -> Callable[P, None]:
    """Make a command end the process with its exit code, and errors with theirs."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except TidewireError as error:
            code = outcome.complain(error)
        raise typer.Exit(code)

    return run


for verb in (demo, serve, doctor, status, tail, teardown):
    app.command()(exiting(verb))


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Keep clients in step with a PostgreSQL database, in real time."""
    if show:
        print(__version__)
        raise typer.Exit
