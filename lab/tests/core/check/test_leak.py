"""Goal: rows that a shape does not show are found. Method: copies, commits and moves out of it."""

from __future__ import annotations

from lab.tests.core.scene import FIRST, RED, Scene, assert_false, assert_true, inserted, values
from tidelab.core.check.leak import CHECKER
from tidelab.core.history.event import Clear, Connected, Copied, Patch, Rekey, Remove, Subscribed
from tidelab.core.history.truth import Updated

BLUE = ("2", "blue", "1")


def scene() -> Scene:
    made = Scene(FIRST, BLUE)
    made.live("s", RED)
    return made


def test_rows_of_the_shape_are_fine() -> None:
    right = scene()
    right.commit(110, Updated("notes", ("2",), ("2", "red", "1")))
    right.put(110, "2", "red", "1")
    right.commit(120, Updated("notes", ("2",), ("2", "blue", "1")))
    right.receive(120, Remove(("2",)))
    right.receive(130, Clear())
    right.put(900, "7", "blue", "1")
    assert_true(right, CHECKER)


def test_a_row_of_others_is_found() -> None:
    leak = scene()
    leak.commit(110, inserted("3", "blue", "1"))
    seq = leak.put(110, "3", "blue", "1")
    assert_false(leak, CHECKER, "at 0/6E the shape does not show it", seq)


def test_a_change_of_a_row_that_moved_out_is_found() -> None:
    leak = scene()
    leak.commit(110, Updated("notes", ("1",), ("1", "blue", "5")))
    seq = leak.receive(110, Patch(("1",), {"tenant": "blue"}))
    assert_false(leak, CHECKER, "row 1 came", seq)


def test_a_new_key_that_the_shape_does_not_show_is_found() -> None:
    leak = scene()
    leak.commit(110, Updated("notes", ("1",), ("8", "blue", "5")))
    seq = leak.receive(110, Rekey(("1",), ("8",), {"tenant": "blue"}))
    assert_false(leak, CHECKER, "row 8 came", seq)


def test_a_copied_row_of_others_is_found() -> None:
    leak = scene()
    leak.tell(Connected(), client="d")
    leak.tell(Subscribed("s", RED, "copy"), client="d")
    rows = (values(*FIRST), values(*BLUE))
    seq = leak.tell(Copied("s", rows, begins=True), client="d")
    assert_false(leak, CHECKER, "row 2 came with the copy", seq)
