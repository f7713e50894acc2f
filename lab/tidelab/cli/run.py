"""`tidelab run`: put the system under test under load and faults, and judge it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from tidelab.cli import options
from tidelab.cli.outcome import EXIT_CODES, print_json
from tidelab.limits import BIG_ROWS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console
    from rich.status import Status

    from tidelab.plan import Plan
    from tidelab.run import Outcome

Embedded = Annotated[
    bool, typer.Option("--embedded", help="Start a PostgreSQL of our own for each run.")
]
Seed = Annotated[int, typer.Option(help="Chance of the first run; it says all that is random.")]
Runs = Annotated[int, typer.Option("--runs", min=1, help="So many runs, from this seed on.")]
Clients = Annotated[int, typer.Option(min=1, max=1000, help="Clients at the same time.")]
Seconds = Annotated[float, typer.Option(min=0.1, max=3600, help="How long writers write.")]
Transactions = Annotated[
    int | None, typer.Option(min=1, help="End when so many were written, or after --seconds.")
]
Faults = Annotated[
    str,
    typer.Option(
        help="all, none, or some of: cuts, half-open, slow, late-acks, churn, kill, stop, freeze, "
        "pg-kill, pg-stop, blackout, big-transaction, open-transaction, stalled-standby, "
        "spool-full, neighbour, lull, steal.",
        metavar="NAMES",
    ),
]
BigRows = Annotated[
    int | None,
    typer.Option(
        "--big-rows",
        min=1,
        max=BIG_ROWS_MAX,
        help="Rows of the first big-transaction. Each client may take 1.3 GB for a million.",
    ),
]
Corpus = Annotated[
    Path | None,
    typer.Option(help="First repeat the runs that once found something.", metavar="FOLDER"),
]
Folder = Annotated[Path, typer.Option("--folder", help="Where run folders go.", metavar="FOLDER")]


def run(
    *,
    embedded: Embedded = False,
    seed: Seed = 1,
    runs: Runs = 1,
    clients: Clients = 10,
    seconds: Seconds = 20.0,
    transactions: Transactions = None,
    faults: Faults = "all",
    big_rows: BigRows = None,
    corpus: Corpus = None,
    folder: Folder = Path("runs"),
    json: options.Json = False,
) -> int:
    """Run clients against a server under load and faults, and judge every message.

    A run ends quietly: faults are healed, and every client gets a stated time to arrive. The
    verdict is that of all properties; what was recorded is judged again by `tidelab check`.

    Examples:

      tidelab run --embedded --seed 7

      tidelab run --embedded --seed 1 --runs 100 --seconds 5 --faults cuts,kill,pg-stop --json

      tidelab run --embedded --seed 1 --faults neighbour,lull,steal

      tidelab run --embedded --clients 2 --faults big-transaction,kill --big-rows 1000000
    """
    from tidelab.core.check.verdict import worst
    from tidelab.errors import DatabaseError
    from tidelab.plan import Plan, check_faults, read_corpus

    if not embedded:
        raise DatabaseError("give --embedded: other databases are not supported yet")
    one = Plan(
        seed=seed,
        clients=clients,
        seconds=seconds if transactions is None else max(seconds, 60.0),
        transactions=transactions,
        faults=check_faults(faults),
        big_rows=big_rows,
    )
    plans = [replace(one, seed=each) for each in range(seed, seed + runs)]
    outcomes = _run_all([*(read_corpus(corpus) if corpus else ()), *plans], folder, is_quiet=json)
    if json:
        documents = [outcome.document() for outcome in outcomes]
        print_json(documents[0] if len(documents) == 1 else {"runs": documents})
    return EXIT_CODES[worst(outcome.report.answer for outcome in outcomes)]


def _run_all(plans: Sequence[Plan], folder: Path, *, is_quiet: bool) -> list[Outcome]:
    """Run one plan after another, and tell about each as soon as it is judged."""
    from rich.console import Console

    from tidelab.run import run as run_plan

    outcomes = []
    progress, console = Console(stderr=True), Console()
    for plan in plans:
        with progress.status(f"seed {plan.seed} ...") as status:
            outcome = run_plan(plan, folder, _teller(status, plan.seed))
        outcomes.append(outcome)
        if not is_quiet:
            show(outcome, console)
    return outcomes


def _teller(status: Status, seed: int) -> Callable[[str], None]:
    return lambda text: status.update(f"seed {seed}: {text} ...")


def show(outcome: Outcome, console: Console) -> None:
    """Print one line for a run that passed, and everything for one that did not."""
    from tidelab.cli.check import show as show_report
    from tidelab.core.check.verdict import Answer

    facts = outcome.document()
    console.print(
        f"seed {outcome.plan.seed}: {facts['answer']}, {facts['records']} records, "
        f"{facts['commits_received']} commits received, {outcome.seconds:.1f} s and "
        f"{outcome.judging_s:.1f} s of judging: {outcome.folder}",
        markup=False,
        soft_wrap=True,
    )
    if outcome.report.answer is not Answer.TRUE:
        show_report(outcome.history, outcome.report, console)
        console.print(f"again: {outcome.plan.command()}", markup=False, soft_wrap=True)
