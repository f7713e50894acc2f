"""`tidelab check`: judge a recorded run, again or for the first time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidelab.cli import options
from tidelab.cli.outcome import EXIT_CODES, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from tidelab.core.check.checker import Report
    from tidelab.core.check.verdict import Violation
    from tidelab.core.history.history import History

Run = Annotated[str, typer.Argument(help="Folder or id of a run, or 'latest'.")]
Runs = Annotated[Path, typer.Option("--runs", help="Where run folders are.", metavar="FOLDER")]


def check(run: Run = "latest", *, runs: Runs = Path("runs"), json: options.Json = False) -> int:
    """Judge the history of a run by every property, and show what proves a violation.

    Examples:

      tidelab check

      tidelab check runs/a1b2 --json
    """
    from rich.console import Console

    from tidelab.core.check.checker import examine
    from tidelab.core.check.registry import checkers_for
    from tidelab.store.run import find_run, read_history

    folder = find_run(runs, run)
    history = read_history(folder)
    report = examine(history, checkers_for(history))
    if json:
        print_json(document(folder, history, report))
    else:
        show(history, report, Console())
    return EXIT_CODES[report.answer]


def document(folder: Path, history: History, report: Report) -> dict[str, object]:
    """Return a report as JSON has it."""
    from tidelab.limits import VIOLATIONS_SHOWN_MAX

    return {
        "run": folder.name,
        "records": len(history.records),
        "answer": report.answer,
        "verdicts": [
            {
                "checker": verdict.checker,
                "answer": verdict.answer,
                "reason": verdict.reason,
                "judged": verdict.judged,
                "violations": [_case(each) for each in verdict.violations[:VIOLATIONS_SHOWN_MAX]],
            }
            for verdict in report.verdicts
        ],
    }


def _case(violation: Violation) -> dict[str, object]:
    from tidelab.core.history.position import format_lsn

    lsn = None if violation.lsn is None else format_lsn(violation.lsn)
    return {"text": violation.text, "lsn": lsn, "proof": list(violation.proof)}


def show(history: History, report: Report, console: Console) -> None:
    """Print the verdicts, and under them the violations with their proof."""
    from rich.table import Table

    from tidelab.limits import VIOLATIONS_SHOWN_MAX

    table = Table()
    for title in ("property", "verdict", "why"):
        table.add_column(title)
    for verdict in report.verdicts:
        table.add_row(verdict.checker, verdict.answer, verdict.reason)
    console.print(table, markup=False)
    for verdict in report.verdicts:
        for violation in verdict.violations[:VIOLATIONS_SHOWN_MAX]:
            console.print(f"\n{verdict.checker}: {violation.text}", markup=False)
            for line in proof_lines(history, violation):
                console.print(
                    line, markup=False, highlight=False, overflow="ellipsis", no_wrap=True
                )
    console.print(f"\n{report.answer}", markup=False)


def proof_lines(history: History, violation: Violation) -> list[str]:
    """Write the events that prove a violation, one in a line."""
    from tidelab.limits import PROOF_MAX

    lines = []
    for seq in violation.proof[:PROOF_MAX]:
        record = history.records[seq]
        lines.append(f"  #{seq} {record.at_s:.3f} s {record.process}: {record.event!r}")
    return lines
