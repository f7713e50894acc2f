"""What a run shall do, as a value that can be kept in a file: the corpus is made of them.

The one rule: a plan says everything that chance does not, and the seed says the rest.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidelab.chaos.faults import CHAOS_FAULTS
from tidelab.errors import HistoryError
from tidelab.fleet.weather import CLIENT_FAULTS
from tidelab.limits import BIG_ROWS_PER_S

FAULTS = (*CLIENT_FAULTS, *CHAOS_FAULTS)


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run; it ends after `seconds`, or when so many transactions were written."""

    seed: int
    clients: int = 10
    writers: int = 3
    seconds: float = 20.0
    transactions: int | None = None
    faults: tuple[str, ...] = FAULTS
    big_rows: int | None = None
    """Rows of the first big transaction; without, and later, the seed draws some ten thousand."""
    story: str = ""
    """What was found with it, for those in the corpus."""

    @property
    def patience_s(self) -> float:
        """Return by how much deadlines are longer, because so many rows come and go."""
        return 2 * (self.big_rows or 0) / BIG_ROWS_PER_S

    def command(self) -> str:
        """Return the line that runs it again."""
        extent = (
            f"--seconds {self.seconds:g}"
            if self.transactions is None
            else f"--transactions {self.transactions}"
        )
        faults = ",".join(self.faults) or "none"
        clients = f"--clients {self.clients}"
        big = "" if self.big_rows is None else f" --big-rows {self.big_rows}"
        return (
            f"tidelab run --embedded --seed {self.seed} {clients} {extent} --faults {faults}{big}"
        )


def check_faults(text: str) -> tuple[str, ...]:
    """Read names of faults; raises HistoryError with the right ones after a wrong one."""
    if text in ("all", "none"):
        return FAULTS if text == "all" else ()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if wrong := [name for name in names if name not in FAULTS]:
        known = ", ".join(FAULTS)
        raise HistoryError(f"there is no fault {wrong[0]!r}; there are all, none, {known}")
    return names


def read_corpus(folder: Path) -> list[Plan]:
    """Read the plans that once found something; raises HistoryError."""
    plans = []
    for path in sorted(folder.glob("*.json")):
        try:
            plans.append(msgspec.json.decode(path.read_bytes(), type=Plan))
        except msgspec.MsgspecError as error:
            raise HistoryError(f"{path} is no plan of a run: {error}") from None
    return plans
