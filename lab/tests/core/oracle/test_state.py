"""Goal: a commit becomes its net effect.

Method: each kind of change, several on one row, misfits.
"""

from __future__ import annotations

import pytest

from lab.tests.core.scene import NOTES, inserted
from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Deleted, TableChange, TableRows, Truncated, Updated
from tidelab.core.oracle.state import TableState
from tidelab.errors import OracleError

ONE, TWO = ("1", "red", "5"), ("2", "blue", None)


def state() -> TableState:
    return TableState(TableRows(NOTES, (ONE, TWO)))


def test_rows_come_change_and_go() -> None:
    notes = state()
    three = ("3", "red", "1")
    changes: list[TableChange] = [
        inserted(*three),
        Updated("notes", ("1",), ("1", "red", "6")),
        Deleted("notes", ("2",)),
    ]
    notes.apply(Lsn(5), changes)
    assert set(notes.rows.values()) == {three, ("1", "red", "6")}
    assert notes.log == [
        (5, {("3",): (None, three), ("1",): (ONE, ("1", "red", "6")), ("2",): (TWO, None)})
    ]
    assert notes.baseline == {("1",): ONE, ("2",): TWO}


def test_what_comes_to_nothing_has_no_effect() -> None:
    notes = state()
    back: list[TableChange] = [
        Deleted("notes", ("1",)),
        inserted(*ONE),
        inserted("3", "x", "1"),
        Deleted("notes", ("3",)),
    ]
    notes.apply(Lsn(5), back)
    assert notes.log == [(5, {})]


def test_an_untouched_value_is_taken_from_the_old_row() -> None:
    notes = state()
    notes.apply(Lsn(5), [Updated("notes", ("1",), ("9", None, "7"), untouched=(1,))])
    assert notes.rows[("9",)] == ("9", "red", "7")
    assert notes.log[0][1] == {("1",): (ONE, None), ("9",): (None, ("9", "red", "7"))}


def test_truncate_takes_all_and_what_follows_stays() -> None:
    notes = state()
    notes.apply(Lsn(5), [Truncated(("notes",)), inserted(*TWO)])
    assert notes.rows == {("2",): TWO}
    assert notes.log == [(5, {("1",): (ONE, None)})]


def test_a_change_that_does_not_fit_is_told() -> None:
    with pytest.raises(OracleError, match="0/5: the oracle has no row"):
        state().apply(Lsn(5), [Deleted("notes", ("7",))])
    with pytest.raises(OracleError, match="already"):
        state().apply(Lsn(5), [inserted(*ONE)])
