"""`tidelab selftest`: prove the checkers on a server that can be broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidelab.cli import options
from tidelab.cli.outcome import EXIT_CODES, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from tidelab.selftest.matrix import Matrix, Mutant

# What of a checker's name stands over its column: the table has to fit a terminal.
_SHORT = 3

Runs = Annotated[int, typer.Option(min=1, help="Clean runs that must alarm nobody.")]


def selftest(*, runs: Runs = 100, json: options.Json = False) -> int:
    """Break a small sync server in every known way, and see which checker notices.

    Passes when each bug is noticed by the checker that is meant for it, and no clean run is called
    anything but true. Runs in memory, from fixed seeds.

    Examples:

      tidelab selftest

      tidelab selftest --runs 1000 --json
    """
    from rich.console import Console

    from tidelab.selftest.matrix import run_selftest

    progress = Console(stderr=True)
    with progress.status("beginning ...") as status:
        matrix = run_selftest(runs, lambda text: status.update(f"{text} ..."))
    if json:
        print_json(matrix.document())
    else:
        show(matrix, Console())
    return EXIT_CODES[matrix.answer]


def show(matrix: Matrix, console: Console) -> None:
    """Print the kill matrix: a number is in how many runs a checker said false."""
    from rich.table import Table
    from rich.text import Text

    from tidelab.core.check.registry import PROPERTIES
    from tidelab.selftest.matrix import SEEDS_EACH

    title = f"Alarms in {SEEDS_EACH} runs of each mutant; * is the checker meant for it"
    table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("mutant", no_wrap=True)
    for checker in PROPERTIES:
        table.add_column(checker.name[:_SHORT], justify="right", no_wrap=True)
    for mutant in matrix.mutants:
        cells = [_cell(mutant, checker.name) for checker in PROPERTIES]
        table.add_row(mutant.bug.label, *cells)
    console.print(table, markup=False)
    names = ", ".join(f"{checker.name[:_SHORT]} {checker.name}" for checker in PROPERTIES)
    console.print(f"{names}\n", markup=False)
    for mutant in matrix.mutants:
        if not mutant.is_killed:
            console.print(f"survived: {mutant.bug.label}: {mutant.bug.story}", markup=False)
    for alarm in matrix.false_alarms[:5]:
        said = "; ".join(alarm.reasons)
        console.print(f"false alarm: seed {alarm.seed}: {said}", markup=False)
    alarms = f"{len(matrix.false_alarms)} false alarms in {matrix.clean_runs} clean runs"
    killed = f"{matrix.killed} of {len(matrix.mutants)} mutants killed"
    console.print(f"{killed}, {alarms}: {matrix.answer}", markup=False)


def _cell(mutant: Mutant, checker: str) -> str:
    count = mutant.alarms.get(checker)
    text = "." if count is None else str(count)
    return f"{text}*" if checker == mutant.bug.killer else f"{text} "
