"""Goal: who does not arrive is found. Method: a settled run with clients in every condition."""

from __future__ import annotations

from lab.tests.core.scene import ALL, FIRST, Scene, assert_false, assert_true, assert_unknown
from tidelab.core.check.arrival import CHECKER
from tidelab.core.history.event import Connected, Disconnected, Settled, Subscribed, Unsubscribed
from tidelab.core.history.position import Lsn


def scene() -> Scene:
    made = Scene(FIRST)
    made.fence(200)
    made.live()
    return made


def settle(scene: Scene) -> int:
    return scene.journal.record("run", Settled(Lsn(150))).seq


def test_who_is_there_in_time_has_arrived() -> None:
    right = scene()
    right.claim(150)
    settle(right)
    right.tell(Disconnected("end"))
    assert_true(right, CHECKER)


def test_who_comes_after_the_time_is_late() -> None:
    late = scene()
    seq = settle(late)
    late.claim(150)
    assert_false(late, CHECKER, "had its time to get to 0/96 and got to 0/64 only", seq)


def test_who_never_became_live_is_late() -> None:
    late = scene()
    late.claim(150)
    late.tell(Subscribed("slow", ALL, "copy"))
    settle(late)
    assert_false(late, CHECKER, "has never been live")


def test_who_was_never_answered_is_told() -> None:
    late = scene()
    late.claim(150)
    late.tell(Connected(), client="unheard")
    settle(late)
    assert_false(late, CHECKER, "client unheard: connected, but no subscription")


def test_who_was_cut_must_come_back_and_who_was_closed_need_not() -> None:
    late = scene()
    late.tell(Disconnected("the run closed it", is_wanted=True))
    settle(late)
    assert_unknown(late, CHECKER)
    late.tell(Connected())
    late.tell(Disconnected("cut"))
    settle(late)
    assert_false(late, CHECKER, "got to 0/64 only")


def test_a_client_after_the_end_is_not_expected() -> None:
    right = scene()
    right.claim(150)
    settle(right)
    right.tell(Connected(), client="after")
    assert_true(right, CHECKER)


def test_a_run_that_never_settled_does_not_know() -> None:
    assert_unknown(scene(), CHECKER)


def test_who_gave_everything_up_need_not_arrive() -> None:
    still = scene()
    still.tell(Unsubscribed("s"))
    settle(still)
    assert_unknown(still, CHECKER)
