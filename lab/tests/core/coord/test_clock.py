"""Goal: the difference of two clocks is found.

Method: ways of known length, clocks of known error.
"""

from __future__ import annotations

from tidelab.core.coord.clock import Clock, Sample


def exchange(clock: Clock, offset: float, down: float, up: float, at: float) -> None:
    """Let an answer go down, the agent think for 7 ms, and a beat come up."""
    heard = at + down + offset
    clock.compare(at, heard, heard + 7, at + down + 7 + up)


def test_without_a_sample_nothing_is_known() -> None:
    assert Clock().best is None


def test_equal_ways_give_the_offset_exactly() -> None:
    clock = Clock()
    exchange(clock, offset=-90_000, down=20, up=20, at=1_000_000)
    assert clock.best == Sample(40, -90_000)
    assert clock.local(1_000_000) == 910_000


def test_the_shortest_way_wins_and_bounds_the_error() -> None:
    clock = Clock()
    exchange(clock, offset=500, down=300, up=10, at=1_000)
    exchange(clock, offset=500, down=6, up=4, at=2_000)
    exchange(clock, offset=500, down=10, up=200, at=3_000)
    best = clock.best
    assert best is not None
    assert abs(best.offset_ms - 500) <= best.way_ms / 2 == 5


def test_old_samples_are_forgotten() -> None:
    clock = Clock()
    exchange(clock, offset=0, down=1.5, up=1.5, at=0)
    for n in range(8):
        exchange(clock, offset=60, down=3, up=3, at=100.0 * n + 100)
    assert clock.best == Sample(6, 60)


def test_a_way_so_short_that_rounding_makes_it_negative_counts() -> None:
    clock = Clock()
    clock.compare(told_ms=1_000, heard_ms=500, sent_ms=501, now_ms=1_000.4)
    assert clock.best is not None
    assert abs(clock.best.offset_ms + 500) <= clock.best.way_ms / 2 == 1


def test_times_that_cannot_be_are_ignored() -> None:
    clock = Clock()
    clock.compare(told_ms=100, heard_ms=0, sent_ms=0, now_ms=50)
    clock.compare(told_ms=0, heard_ms=9, sent_ms=8, now_ms=50)
    clock.compare(told_ms=0, heard_ms=0, sent_ms=99, now_ms=50)
    assert clock.best is None
