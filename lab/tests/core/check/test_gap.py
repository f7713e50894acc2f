"""Goal: a copy that is not the table when shown is found.

Method: lost, doubled and staged commits.
"""

from __future__ import annotations

from lab.tests.core.scene import ALL, FIRST, Scene, assert_false, assert_true, inserted, values
from tidelab.core.check.gap import CHECKER
from tidelab.core.history.event import Connected, Copied, Subscribed


def scene() -> Scene:
    made = Scene(FIRST)
    made.tell(Connected())
    made.tell(Subscribed("s", ALL, "copy"))
    made.tell(Copied("s", (values(*FIRST),), begins=True))
    made.commit(110, inserted("2", "red", "1"))
    return made


def test_copy_and_staged_commits_are_the_table() -> None:
    right = scene()
    right.put(110, "2", "red", "1", staged=True)
    right.claim(110, "s")
    assert_true(right, CHECKER)


def test_a_commit_between_snapshot_and_tail_is_missed() -> None:
    gap = scene()
    seq = gap.claim(110, "s")
    words = "row 2 is as of commit 0/6E (#4), and the commits told beside the copy are none"
    assert_false(gap, CHECKER, words, 4, seq)


def test_a_row_that_never_was_has_no_commit() -> None:
    wrong = scene()
    wrong.tell(Copied("s", (values("9", "x", "1"),)))
    wrong.put(110, "2", "red", "1", staged=True)
    seq = wrong.claim(110, "s")
    assert_false(wrong, CHECKER, "(9) too many, and the commits told beside the copy are 0/6E", seq)


def test_what_goes_wrong_later_is_no_gap() -> None:
    later = scene()
    later.claim(100, "s")
    later.claim(110)
    assert_true(later, CHECKER)
