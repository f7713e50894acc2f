"""Goal: what is told twice is found. Method: commits, chunks and new rows, once and twice."""

from __future__ import annotations

from lab.tests.core.scene import ALL, FIRST, Scene, assert_false, assert_true, inserted, values
from tidelab.core.check.duplicate import CHECKER
from tidelab.core.history.event import Connected, Copied, Disconnected, Patch, Subscribed
from tidelab.core.history.truth import Updated

CHANGE = Updated("notes", ("1",), ("1", "red", "6"))
PATCH = Patch(("1",), {"size": "6"})


def scene() -> Scene:
    made = Scene(FIRST)
    made.live()
    made.commit(110, CHANGE)
    return made


def test_a_commit_twice_is_found() -> None:
    twice = scene()
    first, second = twice.receive(110, PATCH), twice.receive(110, PATCH)
    assert_false(twice, CHECKER, "told twice for 1 row (1)", first, second)


def test_the_same_row_in_two_commits_is_fine() -> None:
    right = scene()
    right.receive(110, PATCH)
    right.commit(120, CHANGE)
    right.receive(120, PATCH)
    assert_true(right, CHECKER)


def test_a_new_row_that_is_there_is_found() -> None:
    twice = scene()
    twice.commit(120, inserted("2", "red", "1"))
    twice.put(120, "2", "red", "1")
    seq = twice.put(130, "2", "red", "1")
    assert_false(twice, CHECKER, "row 2 came as a new one, but it was there already", seq)


def test_a_chunk_twice_is_found() -> None:
    twice = scene()
    twice.tell(Connected(), client="d")
    twice.tell(Subscribed("s", ALL, "copy"), client="d")
    twice.tell(Copied("s", (values(*FIRST),), begins=True), client="d")
    seq = twice.tell(Copied("s", (values(*FIRST),)), client="d")
    assert_false(twice, CHECKER, "row 1 came as a new one", seq)


def test_staged_again_after_a_cut_is_fine() -> None:
    right = Scene(FIRST)
    right.tell(Connected())
    right.tell(Subscribed("s", ALL, "copy"))
    right.tell(Copied("s", (values(*FIRST),), begins=True))
    right.commit(110, CHANGE)
    for _ in range(2):
        right.tell(Disconnected("cut"))
        right.tell(Subscribed("s", ALL, "copy"))
        right.receive(110, PATCH, staged=True)
    right.claim(110, "s")
    assert_true(right, CHECKER)


def test_staged_and_then_live_is_found() -> None:
    twice = Scene(FIRST)
    twice.tell(Connected())
    twice.tell(Subscribed("s", ALL, "copy"))
    twice.commit(110, CHANGE)
    first = twice.receive(110, PATCH, staged=True)
    twice.claim(110, "s")
    second = twice.receive(110, PATCH)
    assert_false(twice, CHECKER, "told twice", first, second)
