"""Changes are values: equal by content, different by kind, and nobody alters them.

Method: plain comparisons.
"""

from __future__ import annotations

import pytest

from engine.tests.core.wal.tables import table
from tidewire.core.model.change import UNCHANGED, Cell, Change, Delete, Insert, Truncate, Update
from tidewire.core.model.relation import JsonForm

USERS = table(JsonForm.NUMBER, JsonForm.TEXT)
ROW = (b"1", b"ada")


def test_a_cell_that_is_not_in_the_log_is_neither_null_nor_a_text() -> None:
    known: tuple[Cell, ...] = (None, b"", b"unchanged")
    assert UNCHANGED not in known


@pytest.mark.parametrize(
    "change",
    [Insert(USERS, ROW), Update(USERS, None, ROW), Delete(USERS, ROW), Truncate(USERS)],
)
def test_a_change_cannot_be_altered(change: Change) -> None:
    with pytest.raises(AttributeError):
        change.relation = USERS  # type: ignore[misc]


def test_changes_of_different_kinds_are_different() -> None:
    assert len({Insert(USERS, ROW), Delete(USERS, ROW), Update(USERS, None, ROW)}) == 3


def test_whether_the_old_row_is_whole_is_part_of_a_change() -> None:
    assert Update(USERS, ROW, ROW) == Update(USERS, ROW, ROW, old_is_whole=False)
    assert Update(USERS, ROW, ROW) != Update(USERS, ROW, ROW, old_is_whole=True)
    assert Delete(USERS, ROW) != Delete(USERS, ROW, old_is_whole=True)
