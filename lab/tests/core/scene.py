"""A stage for tests of the checkers: one table, one client, and events written by hand.

The table is `notes(id, tenant, size)`; the subscription `s` shows all of it, `red` only tenant red.
"""

from __future__ import annotations

from tidelab.core.check.checker import Checker
from tidelab.core.check.evidence import Evidence
from tidelab.core.check.verdict import Answer, Verdict
from tidelab.core.history.event import (
    Claimed,
    Connected,
    Copied,
    Event,
    Part,
    Put,
    Received,
    RowChange,
    Subscribed,
    Values,
)
from tidelab.core.history.history import Journal
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Equal, Shape
from tidelab.core.history.truth import (
    Baseline,
    Column,
    Committed,
    Fenced,
    Inserted,
    Table,
    TableChange,
    TableRows,
)

NOTES = Table(
    "notes", ("id",), (Column("id", "int8"), Column("tenant", "text"), Column("size", "int4"))
)
TAGS = Table("tags", ("id",), (Column("id", "int8"), Column("name", "text")))
ALL = Shape("notes", ("id", "tenant", "size"))
RED = Shape("notes", ("id", "tenant", "size"), Equal("tenant", "red"))
EVERY_TAG = Shape("tags", ("id", "name"))
BEGIN = Lsn(100)
FIRST = ("1", "red", "5")


def values(*row: str | None) -> Values:
    """Write a row of notes as clients receive it."""
    return dict(zip(("id", "tenant", "size"), row, strict=True))


def inserted(*row: str | None) -> Inserted:
    """Write an insert into notes."""
    return Inserted("notes", row)


class Scene:
    """Write a history; rows of notes at the beginning are `first`."""

    def __init__(self, *first: tuple[str | None, ...]) -> None:
        self.journal = Journal()
        tables = (TableRows(NOTES, first), TableRows(TAGS, ()))
        self.journal.record("oracle", Baseline(BEGIN, tables))
        self._first = first

    def commit(self, lsn: int, *changes: TableChange) -> int:
        """Let the database commit."""
        return self.journal.record("oracle", Committed(Lsn(lsn), lsn, changes)).seq

    def fence(self, lsn: int) -> None:
        """Let the oracle say how far it has read."""
        self.journal.record("oracle", Fenced(Lsn(lsn)))

    def tell(self, event: Event, client: str = "c") -> int:
        """Tell the client something."""
        return self.journal.record(client, event).seq

    def live(self, id: str = "s", shape: Shape = ALL, *, lsn: int = BEGIN) -> None:
        """Connect and make a subscription live with the first rows that it shows."""
        rows = tuple(
            values(*row)
            for row in self._first
            if shape is ALL or (shape is RED and row[1] == "red")
        )
        self.tell(Connected())
        self.tell(Subscribed(id, shape, "copy"))
        self.tell(Copied(id, rows, begins=True))
        self.claim(lsn, id)

    def claim(self, lsn: int, *live: str) -> int:
        """Tell the client that it is up to date."""
        return self.tell(Claimed(Lsn(lsn), live))

    def receive(self, lsn: int, *changes: RowChange, id: str = "s", staged: bool = False) -> int:
        """Tell the client of a commit."""
        return self.tell(Received(Lsn(lsn), (Part(id, changes),), is_staged=staged))

    def put(self, lsn: int, *row: str | None, id: str = "s", staged: bool = False) -> int:
        """Tell the client of a new row of notes."""
        return self.receive(lsn, Put(values(*row)), id=id, staged=staged)

    @property
    def evidence(self) -> Evidence:
        """Return what checkers look at."""
        return Evidence(self.journal.history)

    def verdict(self, checker: Checker) -> Verdict:
        """Put the history before a checker."""
        return checker.check(self.evidence)


def assert_true(scene: Scene, checker: Checker) -> None:
    """Expect that the property holds."""
    verdict = scene.verdict(checker)
    assert verdict.answer is Answer.TRUE, verdict


def assert_unknown(scene: Scene, checker: Checker) -> str:
    """Expect that nobody knows; return why."""
    verdict = scene.verdict(checker)
    assert verdict.answer is Answer.UNKNOWN, verdict
    return verdict.reason


def assert_false(scene: Scene, checker: Checker, words: str, *proof: int) -> None:
    """Expect one violation with these words, proven by these records."""
    verdict = scene.verdict(checker)
    assert verdict.answer is Answer.FALSE, verdict
    (violation,) = verdict.violations
    assert words in violation.text
    assert set(proof) <= set(violation.proof), violation
