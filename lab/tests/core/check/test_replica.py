"""Goal: rows are rebuilt as a client would.

Method: each change; swaps; the digest against a naive one.
"""

from __future__ import annotations

from lab.tests.core.scene import ALL, BEGIN, NOTES, values
from tidelab.core.check.replica import ABSENT, Replica
from tidelab.core.history.event import Clear, Patch, Put, Rekey, Remove
from tidelab.core.history.truth import TableRows
from tidelab.core.oracle.digest import EMPTY, digest_of
from tidelab.core.oracle.state import TableState
from tidelab.core.oracle.view import View


def replica() -> Replica:
    made = Replica(View(ALL, TableState(TableRows(NOTES, ())), BEGIN))
    assert made.copy_in([values("1", "a", "1"), values("2", "b", "2")]) == []
    return made


def rows(of: Replica) -> list[tuple[str | None, ...]]:
    assert of.digest == digest_of(of.rows.values())
    return sorted(of.rows.values(), key=str)


def test_rows_are_put_patched_rekeyed_and_removed() -> None:
    notes = replica()
    put, patch = Put(values("3", "c", None)), Patch(("1",), {"size": "9"})
    assert notes.apply([put, patch, Remove(("2",))]) == []
    assert rows(notes) == [("1", "a", "9"), ("3", "c", None)]
    assert notes.apply([Rekey(("3",), ("4",), {"size": "4"})]) == []
    assert rows(notes) == [("1", "a", "9"), ("4", "c", "4")]


def test_two_rows_swap_their_keys_in_one_commit() -> None:
    notes = replica()
    assert notes.apply([Rekey(("1",), ("2",), {}), Rekey(("2",), ("1",), {})]) == []
    assert rows(notes) == [("1", "b", "2"), ("2", "a", "1")]


def test_a_clear_comes_first() -> None:
    notes = replica()
    assert notes.apply([Put(values("1", "new", "1")), Clear()]) == []
    assert rows(notes) == [("1", "new", "1")]


def test_a_new_row_that_is_there_already_is_named() -> None:
    notes = replica()
    assert notes.apply([Put(values("1", "x", "1")), Put(values("5", "x", "1"))]) == [("1",)]
    assert notes.copy_in([values("1", "y", "1")]) == [("1",)]
    assert notes.apply([Rekey(("5",), ("2",), {})]) == [("2",)]
    assert ("1", "y", "1") in rows(notes)


def test_what_was_never_sent_shows_as_absent() -> None:
    notes = replica()
    notes.apply([Patch(("7",), {"size": "1"}), Remove(("8",))])
    assert ("7", ABSENT, "1") in rows(notes)


def test_cleared_it_is_empty() -> None:
    notes = replica()
    notes.clear()
    assert rows(notes) == []
    assert notes.digest == EMPTY
