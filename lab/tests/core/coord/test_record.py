"""Goal: records are taken back in an order that suits them. Method: the order itself."""

from __future__ import annotations

from tidelab.core.coord.record import KINDS


def test_a_cursor_comes_after_its_outcome() -> None:
    assert KINDS.index("outcome") < KINDS.index("cursor")
    assert len(set(KINDS)) == 7
