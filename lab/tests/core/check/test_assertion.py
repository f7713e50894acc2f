"""Goal: `always` and `sometimes` mean what they say.

Method: met, not met, and failed assertions.
"""

from __future__ import annotations

from lab.tests.core.scene import Scene, assert_false, assert_true, assert_unknown
from tidelab.core.check.assertion import CHECKER
from tidelab.core.history.event import Asserted, Declared


def scene() -> Scene:
    made = Scene()
    made.tell(Declared("bounded", "always"))
    made.tell(Declared("came back", "sometimes"))
    made.tell(Asserted("bounded", holds=True))
    return made


def test_all_met_is_true() -> None:
    right = scene()
    right.tell(Asserted("came back", holds=False))
    right.tell(Asserted("came back", holds=True))
    assert_true(right, CHECKER)


def test_a_sometimes_that_was_never_met_is_unknown() -> None:
    assert assert_unknown(scene(), CHECKER) == "'came back' was never met"


def test_an_always_that_failed_is_false() -> None:
    wrong = scene()
    seq = wrong.tell(Asserted("bounded", holds=False, detail="7 > 5"))
    assert_false(wrong, CHECKER, "bounded: did not hold: 7 > 5", seq)


def test_what_nobody_declared_must_hold_always() -> None:
    wrong = scene()
    seq = wrong.tell(Asserted("else", holds=False))
    assert_false(wrong, CHECKER, "else: did not hold: no detail", seq)
