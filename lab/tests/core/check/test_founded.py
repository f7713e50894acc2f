"""Goal: a reset is founded only by what happened, for whom it happened, and when.

Method: histories of a client or two, written by hand, with resets before, during and after.
"""

from __future__ import annotations

import pytest

from lab.tests.core.scene import ALL, Scene
from tidelab.core.check.founded import STEAL, Theft, unfounded
from tidelab.core.history.event import (
    Claimed,
    Event,
    Invoked,
    Reset,
    Subscribed,
    Succeeded,
    Unsubscribed,
    Unsure,
)
from tidelab.core.history.position import Lsn


def scene() -> Scene:
    made = Scene()
    made.live()
    return made


def begin(made: Scene, theft: Theft, operation: int = 1) -> None:
    made.tell(Invoked(operation, STEAL, theft.value), "chaos")


def steal(made: Scene, theft: Theft, operation: int = 1, *, end: type = Succeeded) -> None:
    begin(made, theft, operation)
    event: Event = Unsure(operation, "lost") if end is Unsure else Succeeded(operation)
    made.tell(event, "chaos")


def resets(made: Scene, kept_bytes: int | None = None) -> list[int]:
    found = unfounded(made.journal.history, kept_bytes=kept_bytes)
    assert all(record.event is reset for record, reset in found)
    return [record.seq for record, _ in found]


def test_without_a_reason_nobody_is_reset() -> None:
    made = scene()
    assert resets(made) == []
    seqs = [made.tell(Reset(reason)) for reason in ("lagged", "other_history")]
    assert resets(made) == seqs


def test_a_table_may_change_at_any_time() -> None:
    made = scene()
    made.tell(Reset("schema_changed", "s"))
    assert resets(made) == []


@pytest.mark.parametrize("end", [Succeeded, Unsure])
def test_a_theft_founds_one_reset_of_each_subscription(end: type) -> None:
    made = scene()
    made.tell(Subscribed("late", ALL, "tail"))
    steal(made, Theft.DROP, end=end)
    made.tell(Reset("other_history", "s"))
    made.tell(Reset("other_history", "late"))
    again = made.tell(Reset("other_history", "s"))
    everything = made.tell(Reset("other_history"))
    assert resets(made) == [again, everything]


def test_a_theft_founds_a_reset_while_it_is_under_way_and_none_before() -> None:
    made = scene()
    before = made.tell(Reset("other_history"))
    made.live("t")
    begin(made, Theft.READ)
    made.tell(Reset("other_history"))
    assert resets(made) == [before]


def test_what_began_after_a_theft_goes_on() -> None:
    made = Scene()
    steal(made, Theft.READ)
    made.live()
    seq = made.tell(Reset("other_history"))
    assert resets(made) == [seq]


def test_a_second_theft_founds_a_second_reset_and_what_was_given_up_does_not_count() -> None:
    made = scene()
    steal(made, Theft.READ, 1)
    made.tell(Reset("other_history"))
    steal(made, Theft.DROP, 2)
    made.tell(Reset("other_history"))
    made.live("t")
    made.tell(Unsubscribed("s"))
    made.tell(Unsubscribed("never there"))
    seq = made.tell(Reset("other_history"))
    assert resets(made) == [seq]


def test_only_of_a_server_that_was_down_the_log_may_seem_too_short() -> None:
    for theft, is_founded in ((Theft.READ_WHILE_DOWN, True), (Theft.READ, False)):
        made = scene()
        steal(made, theft)
        seq = made.tell(Reset("lagged"))
        assert resets(made) == ([] if is_founded else [seq])


def test_other_operations_are_no_thefts() -> None:
    made = scene()
    made.tell(Invoked(1, "kill", "for 1 s"), "chaos")
    made.tell(Succeeded(1), "chaos")
    seq = made.tell(Reset("other_history"))
    assert resets(made) == [seq]


def test_who_is_far_behind_may_fall_off_the_log_and_nobody_else() -> None:
    made = scene()
    made.tell(Claimed(Lsn(1000)))
    made.put(2000, "1", "red", "5")
    made.put(9000, "1", "red", "5", staged=True)
    made.fence(2400)
    seq = made.tell(Reset("lagged"))
    other = made.tell(Reset("other_history"))
    made.fence(2500)
    assert resets(made, kept_bytes=499) == [other]
    assert resets(made, kept_bytes=500) == [seq, other]
    assert resets(made) == [seq, other]
