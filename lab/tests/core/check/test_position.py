"""Goal: a position that goes back is found. Method: claims and commits, reconnects and resets."""

from __future__ import annotations

from lab.tests.core.scene import ALL, FIRST, Scene, assert_false, assert_true, inserted
from tidelab.core.check.position import CHECKER
from tidelab.core.history.event import Connected, Disconnected, Reset, Subscribed


def scene() -> Scene:
    made = Scene(FIRST)
    made.commit(110, inserted("2", "red", "1"))
    made.fence(200)
    made.live()
    return made


def test_forward_is_true() -> None:
    right = scene()
    right.put(110, "2", "red", "1")
    right.claim(110)
    right.claim(120)
    assert_true(right, CHECKER)


def test_a_claim_below_a_commit_is_found() -> None:
    wrong = scene()
    first = wrong.put(110, "2", "red", "1")
    second = wrong.claim(105)
    assert_false(wrong, CHECKER, "at 0/6E (#", first, second)


def test_a_commit_below_a_claim_is_found() -> None:
    wrong = scene()
    first = wrong.claim(120)
    second = wrong.put(110, "2", "red", "1")
    assert_false(wrong, CHECKER, "without a reset, at 0/6E", first, second)


def test_a_reconnect_is_no_excuse() -> None:
    wrong = scene()
    first = wrong.claim(120)
    wrong.tell(Disconnected("cut"))
    wrong.tell(Connected())
    wrong.tell(Subscribed("s", ALL, "resume"))
    second = wrong.claim(110)
    assert_false(wrong, CHECKER, "told to be at 0/78", first, second)


def test_a_reset_is() -> None:
    right = scene()
    right.claim(120)
    right.claim(130)
    right.tell(Reset("lagged", "s"))
    right.claim(110, "s")
    assert_true(right, CHECKER)


def test_with_nothing_live_there_is_no_position() -> None:
    right = scene()
    right.tell(Disconnected("cut"))
    right.tell(Connected())
    right.claim(150)
    right.claim(100)
    right.tell(Subscribed("s", ALL, "resume"))
    right.claim(110)
    assert_true(right, CHECKER)
