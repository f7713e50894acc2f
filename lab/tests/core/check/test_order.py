"""Goal: commits out of order are found. Method: live and staged ones, resets in between."""

from __future__ import annotations

from lab.tests.core.scene import ALL, FIRST, Scene, assert_false, assert_true, inserted
from tidelab.core.check.order import CHECKER
from tidelab.core.history.event import Connected, Disconnected, Reset, Subscribed


def scene() -> Scene:
    made = Scene(FIRST)
    for n in (2, 3, 4):
        made.commit(100 + n, inserted(str(n), "red", "1"))
    made.live()
    return made


def test_in_order_is_true() -> None:
    right = scene()
    right.put(102, "2", "red", "1")
    right.claim(102)
    right.put(103, "3", "red", "1")
    assert_true(right, CHECKER)


def test_out_of_order_is_found() -> None:
    wrong = scene()
    later, earlier = wrong.put(103, "3", "red", "1"), wrong.put(102, "2", "red", "1")
    assert_false(wrong, CHECKER, "although it was made before it (0/66 < 0/67)", earlier, later)


def test_after_a_reset_a_new_order_begins() -> None:
    right = scene()
    right.put(102, "2", "red", "1")
    right.put(104, "4", "red", "1")
    right.tell(Reset("lagged"))
    right.claim(102, "s")
    right.put(103, "3", "red", "1")
    assert_true(right, CHECKER)


def test_staged_commits_have_an_order_too() -> None:
    wrong = scene()
    wrong.tell(Connected(), client="d")
    wrong.tell(Subscribed("s", ALL, "copy"))
    wrong.put(103, "3", "red", "1", staged=True)
    seq = wrong.put(102, "2", "red", "1", staged=True)
    assert_false(wrong, CHECKER, "0/66 < 0/67", seq)


def test_with_nothing_live_there_is_no_order() -> None:
    right = scene()
    right.put(103, "3", "red", "1")
    right.tell(Disconnected("cut"))
    right.put(102, "2", "red", "1")
    right.tell(Subscribed("s", ALL, "resume"))
    right.put(104, "4", "red", "1")
    assert_true(right, CHECKER)
