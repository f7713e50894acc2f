"""Goal: the oracle follows the truth and knows its limits. Method: commits over two tables."""

from __future__ import annotations

import pytest

from lab.tests.core.scene import ALL, BEGIN, EVERY_TAG, NOTES, TAGS, inserted
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import (
    Baseline,
    Committed,
    Fenced,
    Inserted,
    TableChange,
    TableRows,
    Truncated,
)
from tidelab.core.oracle.oracle import Oracle
from tidelab.errors import OracleError, ShapeError

BASELINE = Baseline(BEGIN, (TableRows(NOTES, (("1", "red", "5"),)), TableRows(TAGS, ())))


def committed(lsn: int, *changes: TableChange) -> Committed:
    return Committed(Lsn(lsn), 1, changes)


def test_a_commit_reaches_all_its_tables() -> None:
    oracle = Oracle(BASELINE)
    tag = Inserted("tags", ("1", "a"))
    other = Inserted("unfollowed", ("1",))
    oracle.receive(committed(110, inserted("2", "red", "1"), tag, other))
    oracle.receive(committed(120, Truncated(("notes", "tags"))))
    assert len(oracle.view(ALL).rows_at(Lsn(110))) == 2
    assert oracle.view(EVERY_TAG).rows_at(Lsn(110)) == {("1",): ("1", "a")}
    assert oracle.view(EVERY_TAG).rows_at(Lsn(120)) == {}
    assert list(oracle.commits) == [110, 120]


def test_equal_shapes_share_a_view() -> None:
    oracle = Oracle(BASELINE)
    assert oracle.view(ALL) is oracle.view(Shape("notes", ("id", "tenant", "size")))
    assert oracle.table("tags") is TAGS


def test_it_knows_from_its_beginning_to_its_fence() -> None:
    oracle = Oracle(BASELINE)
    oracle.receive(committed(110))
    assert [lsn for lsn in (99, 100, 110, 111) if oracle.knows(Lsn(lsn))] == [100, 110]
    oracle.receive(Fenced(Lsn(130)))
    oracle.receive(Fenced(Lsn(120)))
    assert oracle.knows(Lsn(130))
    assert not oracle.knows(Lsn(131))


def test_what_the_baseline_holds_is_not_applied_again() -> None:
    oracle = Oracle(BASELINE)
    oracle.receive(committed(100, inserted("1", "red", "5")))
    assert not oracle.commits


def test_what_cannot_be_is_told() -> None:
    oracle = Oracle(BASELINE)
    with pytest.raises(OracleError, match="one baseline"):
        oracle.receive(BASELINE)
    oracle.receive(committed(110))
    with pytest.raises(OracleError, match="0/6E came out of order"):
        oracle.receive(committed(110))
    with pytest.raises(ShapeError, match="does not follow table 'x'; it follows notes, tags"):
        oracle.view(Shape("x", ("id",)))
    with pytest.raises(ShapeError, match="it follows none"):
        Oracle(Baseline(BEGIN, ())).table("x")
