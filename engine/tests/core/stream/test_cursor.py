"""A cursor is a value: two readers at the same place of the same history are the same.

Method: cursors that differ in one fact.
"""

from __future__ import annotations

import pytest

from tidewire.core.model.lsn import Lsn
from tidewire.core.stream.cursor import Cursor

HERE = Cursor("e1", Lsn(9), "a-1")


def test_the_same_place_is_the_same_cursor() -> None:
    assert {HERE, Cursor("e1", Lsn(9), "a-1")} == {HERE}


@pytest.mark.parametrize(
    "other", [Cursor("e2", Lsn(9), "a-1"), Cursor("e1", Lsn(8), "a-1"), Cursor("e1", Lsn(9), "")]
)
def test_every_fact_makes_another_place(other: Cursor) -> None:
    assert other != HERE


def test_nobody_moves_a_cursor_that_somebody_else_holds() -> None:
    with pytest.raises(AttributeError):
        HERE.lsn = Lsn(10)  # type: ignore[misc]
