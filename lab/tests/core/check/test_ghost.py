"""Goal: rows that stay after they left are found. Method: deletes and moves, told and not told."""

from __future__ import annotations

from lab.tests.core.scene import (
    ALL,
    FIRST,
    RED,
    Scene,
    assert_false,
    assert_true,
    assert_unknown,
    values,
)
from tidelab.core.check.ghost import CHECKER
from tidelab.core.history.event import Connected, Put, Remove, Subscribed
from tidelab.core.history.truth import Deleted, Updated


def scene() -> Scene:
    made = Scene(FIRST)
    made.live("s", RED)
    return made


def test_a_row_that_is_told_to_leave_leaves() -> None:
    right = scene()
    right.tell(Subscribed("copying", ALL, "copy"))
    right.commit(110, Deleted("notes", ("1",)))
    right.receive(110, Remove(("1",)))
    assert_true(right, CHECKER)


def test_a_row_that_moved_out_and_stays_is_found_once() -> None:
    ghost = scene()
    gone = ghost.commit(110, Updated("notes", ("1",), ("1", "blue", "5")))
    seq = ghost.claim(110)
    ghost.claim(110)
    assert_false(ghost, CHECKER, "row 1 left with commit 0/6E", gone, seq)


def test_a_row_that_never_was_is_no_ghost() -> None:
    other = scene()
    other.commit(110, Deleted("notes", ("1",)))
    other.receive(110, Remove(("1",)), Put(values("9", "red", "1")))
    assert_true(other, CHECKER)


def test_when_nothing_left_nobody_knows() -> None:
    still = scene()
    still.tell(Connected())
    still.claim(100)
    assert_unknown(still, CHECKER)
