"""Goal: rows that are not the truth at a told position are found.

Method: right and wrong commits.
"""

from __future__ import annotations

from lab.tests.core.scene import FIRST, Scene, assert_false, assert_true, assert_unknown, inserted
from tidelab.core.check.convergence import CHECKER


def scene() -> Scene:
    made = Scene(FIRST)
    made.live()
    made.commit(110, inserted("2", "red", "1"))
    return made


def test_the_truth_at_each_position_is_true() -> None:
    right = scene()
    right.put(110, "2", "red", "1")
    assert_true(right, CHECKER)


def test_a_wrong_row_is_found_with_the_commit_in_between() -> None:
    wrong = scene()
    seq = wrong.put(110, "2", "red", "7")
    assert_false(wrong, CHECKER, "it was right at 0/64, and in between lies commit 0/6E", seq)
    assert wrong.verdict(CHECKER).violations[0].lsn == 110


def test_one_that_was_never_right_is_found() -> None:
    wrong = Scene(FIRST)
    wrong.live()
    wrong.journal.records.pop()
    seq = wrong.claim(100)
    wrong.journal.records.pop()
    wrong.put(100, "1", "blue", "5", staged=True)
    seq = wrong.claim(100, "s")
    assert_false(wrong, CHECKER, "never right before, and in between lies no commit", seq)


def test_beyond_the_fence_nobody_knows() -> None:
    early = scene()
    early.put(110, "2", "red", "1")
    early.claim(500)
    assert "1 claims lie beyond" in assert_unknown(early, CHECKER)
    early.fence(500)
    assert_true(early, CHECKER)
