"""Goal: half a commit is found, over all subscriptions. Method: one commit to two of them."""

from __future__ import annotations

from lab.tests.core.scene import (
    EVERY_TAG,
    FIRST,
    Scene,
    assert_false,
    assert_true,
    inserted,
    values,
)
from tidelab.core.check.atomicity import CHECKER
from tidelab.core.history.event import Clear, Part, Patch, Put, Received
from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Inserted, Truncated

ROW = Part("s", (Put(values("2", "red", "1")),))
TAG = Part("tags", (Put({"id": "1", "name": "a"}),))


def scene() -> Scene:
    made = Scene(FIRST)
    made.live()
    made.live("tags", EVERY_TAG)
    made.commit(110, inserted("2", "red", "1"), Inserted("tags", ("1", "a")))
    return made


def test_a_whole_commit_is_true() -> None:
    right = scene()
    right.tell(Received(Lsn(110), (ROW, TAG)))
    right.claim(110)
    assert_true(right, CHECKER)


def test_one_subscription_at_a_time_is_found_once() -> None:
    torn = scene()
    seq = torn.tell(Received(Lsn(110), (ROW,)))
    torn.tell(Received(Lsn(110), (TAG,)))
    assert_false(torn, CHECKER, "only in part: 1 row (1) of 'tags' did not come with it", seq)


def test_a_truncate_is_whole_for_all_rows() -> None:
    right = scene()
    right.commit(120, Truncated(("notes", "tags")))
    right.tell(Received(Lsn(110), (ROW, TAG)))
    right.tell(Received(Lsn(120), (Part("s", (Clear(),)), Part("tags", (Clear(),)))))
    assert_true(right, CHECKER)


def test_what_joined_at_the_commit_has_it_already() -> None:
    right = scene()
    right.commit(120, inserted("3", "red", "1"), inserted("4", "red", "1"))
    right.tell(Received(Lsn(110), (ROW, TAG)))
    right.live("late", lsn=120)
    both = (Put(values("3", "red", "1")), Put(values("4", "red", "1")))
    right.tell(Received(Lsn(120), (Part("s", both),)))
    assert_true(right, CHECKER)


def test_what_brings_nothing_of_a_commit_is_the_losses_business() -> None:
    lost = scene()
    lost.tell(Received(Lsn(110), (Part("s", (Patch(("1",), {"size": "5"}),)),)))
    assert_true(lost, CHECKER)
