"""What is done about the write-ahead log that the slot keeps, by how much it is and what for."""

from __future__ import annotations

import pytest

from tidewire.core.model.lsn import Lsn
from tidewire.core.stream.retention import Retained, Step, judge, look_again_s, shed_below

MAX = 1000


def kept(total: int, pinned: int = 0, *, end: int = 10_000) -> Retained:
    return Retained(Lsn(end - total), Lsn(end - total + pinned), Lsn(end))


@pytest.mark.parametrize(
    ("total", "pinned", "step"),
    [
        (0, 0, Step.NOTHING),
        (499, 499, Step.NOTHING),
        (500, 0, Step.SHED),
        (500, 249, Step.SHED),
        (500, 250, Step.NAME),
        (999, 999, Step.NAME),
        (999, 400, Step.SHED),
        (1000, 0, Step.DROP),
        (5000, 5000, Step.DROP),
    ],
)
def test_each_step_has_its_time(total: int, pinned: int, step: Step) -> None:
    assert judge(kept(total, pinned), MAX, is_held=True) is step
    unheld = Step.SHED if step is Step.NAME else step
    assert judge(kept(total, pinned), MAX, is_held=False) is unheld


def test_what_is_shed_leaves_a_quarter_of_what_may_be_kept() -> None:
    assert shed_below(kept(600), MAX) == 10_000 - 250
    assert shed_below(kept(50, end=100), MAX) == 0


def test_a_slot_that_was_confirmed_before_it_could_restart_pins_nothing() -> None:
    assert Retained(Lsn(20), Lsn(10), Lsn(30)).pinned == 0


def again(before: Retained | None, now: Retained, elapsed_s: float = 10.0) -> float:
    return look_again_s(before, now, elapsed_s, MAX, shortest_s=1.0, longest_s=60.0)


def test_a_sleeper_looks_the_sooner_the_faster_the_log_grows() -> None:
    calm, busy = kept(100), kept(110, end=10_010)
    assert again(None, calm) == 1.0
    assert again(calm, calm) == 60.0
    # 10 bytes in 10 s, and room for 390: half of the time that is left, within the bounds.
    assert again(calm, busy) == 60.0
    assert again(calm, kept(200, end=10_100)) == pytest.approx(300 / 100 * 10 / 2)
    assert again(calm, kept(490, end=10_390)) == 1.0
    assert again(calm, kept(500)) == 1.0
    assert again(calm, busy, elapsed_s=0.0) == 60.0
