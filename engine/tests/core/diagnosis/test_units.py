"""Goal: sizes and times read as people say them."""

from __future__ import annotations

import pytest

from tidewire.core.diagnosis.units import setting_of, size_of, time_of


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 kB"),
        (16 << 20, "16 MB"),
        (1_600_000_000, "1.49 GB"),
        (3 << 40, "3 TB"),
    ],
)
def test_a_size(size: int, said: str) -> None:
    assert size_of(size) == said


def test_a_setting_is_never_less() -> None:
    assert setting_of(1) == "'1GB'"
    assert setting_of(10 << 30) == "'10GB'"
    assert setting_of((10 << 30) + 1) == "'11GB'"


@pytest.mark.parametrize(
    ("time", "said"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 minutes"), (7200, "2 hours"), (345_600, "4 days")],
)
def test_a_time(time: float, said: str) -> None:
    assert time_of(time) == said
