"""Goal: what never happened, or otherwise, is found. Method: invented commits, rows and values."""

from __future__ import annotations

import pytest

from lab.tests.core.scene import ALL, FIRST, Scene, assert_false, assert_true, inserted, values
from tidelab.core.check.origin import CHECKER
from tidelab.core.history.event import Clear, Patch, Put, Rekey, Remove, RowChange, Subscribed
from tidelab.core.history.truth import Updated


def scene() -> Scene:
    made = Scene(FIRST, ("2", "red", "2"), ("3", "red", "3"))
    made.live()
    made.commit(110, inserted("4", "red", "1"), Updated("notes", ("1",), ("1", "red", "6")))
    made.fence(200)
    return made


def test_what_happened_is_true() -> None:
    right = scene()
    changes = (Put(values("4", "red", "1")), Patch(("1",), {"size": "6"}), Remove(("9",)), Clear())
    right.receive(110, *changes)
    assert_true(right, CHECKER)


def test_beyond_the_fence_nothing_is_said() -> None:
    right = scene()
    right.put(110, "4", "red", "1")
    right.put(999, "5", "red", "1")
    assert_true(right, CHECKER)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Put(values("4", "red", "2")), "with size = '2' in row 4; it is '1'"),
        (Patch(("1",), {"size": "5"}), "with size = '5' in row 1; it is '6'"),
        (Rekey(("0",), ("1",), {"tenant": None}), "with tenant = None in row 1; it is 'red'"),
        (Remove(("2",)), "taking out row 2, which is still there"),
    ],
)
def test_what_happened_otherwise_is_found(change: RowChange, words: str) -> None:
    wrong = scene()
    seq = wrong.receive(110, change)
    assert_false(wrong, CHECKER, words, seq)


def test_a_row_that_the_shape_does_not_show_is_the_leaks_business() -> None:
    leak = scene()
    leak.put(110, "7", "red", "1")
    assert_true(leak, CHECKER)


def test_an_invented_commit_is_found() -> None:
    wrong = scene()
    seq = wrong.put(111, "4", "red", "1")
    assert_false(wrong, CHECKER, "a commit 0/6F came", seq)


def test_a_live_commit_for_a_copy_is_found() -> None:
    wrong = scene()
    wrong.tell(Subscribed("new", ALL, "copy"))
    seq = wrong.put(110, "4", "red", "1", id="new")
    assert_false(wrong, CHECKER, "not in the state for it", seq)
