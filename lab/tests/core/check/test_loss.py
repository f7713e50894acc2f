"""Goal: what a client is past and never heard of is found.

Method: whole, partial and late commits.
"""

from __future__ import annotations

from lab.tests.core.scene import ALL, FIRST, Scene, assert_false, assert_true, inserted, values
from tidelab.core.check.loss import CHECKER
from tidelab.core.history.event import Connected, Put, Subscribed
from tidelab.core.history.truth import Deleted


def scene() -> Scene:
    made = Scene(FIRST)
    made.live()
    made.commit(110, inserted("2", "red", "1"), Deleted("notes", ("1",)))
    return made


def test_a_commit_that_never_came_is_lost() -> None:
    lost = scene()
    seq = lost.claim(110)
    assert_false(lost, CHECKER, "commit 0/6E (#5) changed 2 rows (1; 2)", 5, seq)


def test_a_row_of_a_commit_is_lost() -> None:
    lost = scene()
    lost.put(110, "2", "red", "1")
    assert_false(lost, CHECKER, "changed 1 row (1)")


def test_what_came_late_is_not_lost() -> None:
    late = scene()
    late.claim(110)
    late.receive(110, Put(values("2", "red", "1")))
    late.receive(110, *[])
    assert_false(late, CHECKER, "1 row (1)")


def test_what_the_client_is_not_past_is_not_lost() -> None:
    behind = scene()
    behind.commit(120, inserted("3", "red", "1"))
    behind.commit(130, inserted("4", "red", "1"))
    behind.put(120, "3", "red", "1")
    assert_false(behind, CHECKER, "commit 0/6E")


def test_who_is_told_all_has_lost_nothing() -> None:
    right = Scene(FIRST)
    right.live()
    right.tell(Connected(), client="idle")
    right.tell(Subscribed("s", ALL, "copy"), client="idle")
    right.commit(110, inserted("2", "red", "1"))
    right.put(110, "2", "red", "1")
    assert_true(right, CHECKER)
