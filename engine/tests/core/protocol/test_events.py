"""Goal: a commit in many steps can be read as one list of changes."""

from __future__ import annotations

from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol.events import Committed, RowChange

A, B, C = (RowChange("delete", (number,), {}) for number in range(3))


def test_the_changes_of_all_steps_in_their_order() -> None:
    steps = ({"n": [A]}, {"m": [B]}, {"n": [C]})
    event = Committed(Lsn(1), 2, 3, steps)
    assert event.changes == {"n": [A, C], "m": [B]}
    assert steps == ({"n": [A]}, {"m": [B]}, {"n": [C]}), "the steps stay what they are"
    assert not event.is_staged


def test_the_only_step_is_not_copied() -> None:
    step = {"n": [A]}
    assert Committed(Lsn(1), 2, 3, (step,)).changes is step
