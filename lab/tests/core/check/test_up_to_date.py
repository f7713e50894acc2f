"""Goal: `up to date` said too early is found.

Method: the word before, after and without the commit.
"""

from __future__ import annotations

from lab.tests.core.scene import ALL, FIRST, Scene, assert_false, assert_true, inserted
from tidelab.core.check.up_to_date import CHECKER
from tidelab.core.history.event import Subscribed


def scene() -> Scene:
    made = Scene(FIRST)
    made.live()
    made.tell(Subscribed("copying", ALL, "copy"))
    made.commit(110, inserted("2", "red", "1"))
    return made


def test_said_after_the_commit_is_true() -> None:
    right = scene()
    right.put(110, "2", "red", "1")
    right.claim(110)
    right.claim(110)
    assert_true(right, CHECKER)


def test_said_before_the_commit_is_found_once() -> None:
    early = scene()
    said = early.claim(110)
    came = early.put(110, "2", "red", "1")
    early.claim(110)
    assert_false(early, CHECKER, f"came only in #{came}", said, came)


def test_said_without_the_commit_is_found() -> None:
    never = scene()
    said = never.claim(110)
    assert_false(never, CHECKER, "never came", said)
