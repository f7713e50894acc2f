"""All commands, and the one place where their errors become lines and exit codes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec

import typer

from tidelab import __version__
from tidelab.cli import agents, outcome, watch
from tidelab.cli.check import check
from tidelab.cli.doctor import doctor
from tidelab.cli.run import run
from tidelab.cli.selftest import selftest
from tidelab.errors import LabError

P = ParamSpec("P")

app = typer.Typer(
    name="tidelab",
    help="Test systems that keep clients in step with a database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 passed, 1 failed, 2 unknown, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def exiting(command: Callable[P, int]) -> Callable[P, None]:
    """Make a command end the process with its exit code, and errors with theirs."""

    @functools.wraps(command)
    def run_command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except LabError as error:
            code = outcome.complain(error)
        except KeyboardInterrupt:
            code = outcome.INTERRUPTED
        raise typer.Exit(code)

    run_command.__doc__ = _flowing(inspect.getdoc(command) or "")
    return run_command


def _flowing(text: str) -> str:
    """Join the lines of each paragraph: a terminal breaks them where it ends, typer where we do."""
    return "\n\n".join(
        paragraph if paragraph.startswith(" ") else " ".join(paragraph.split("\n"))
        for paragraph in text.split("\n\n")
    )


for verb in (check, doctor, run, selftest):
    app.command()(exiting(verb))

agents_app = typer.Typer(
    help="Where agents of a test share data and wait for each other.", no_args_is_help=True
)
agents_app.command()(exiting(agents.serve))
agents_app.command()(exiting(watch.watch))
app.add_typer(agents_app, name="agents")


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Test systems that keep clients in step with a database."""
    if show:
        print(__version__)
        raise typer.Exit
