"""What a change means for a shape: the table at the head of `effect.py`, row by row.

Method: one change in, one effect out; and the rules for cells that the log does not carry.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.wal.tables import chance, table
from tidewire.core.model.change import (
    UNCHANGED,
    Cell,
    Change,
    Delete,
    Insert,
    Row,
    Truncate,
    Update,
)
from tidewire.core.model.relation import JsonForm
from tidewire.core.shape.effect import Alter, Clear, Effect, Enter, Leave, Rekey, effect_of

USERS = table(JsonForm.NUMBER, JsonForm.TEXT, JsonForm.TEXT)
KEY = (0,)
NEW: Row = (b"1", b"a", b"b")
OLD: Row = (b"1", b"x", b"y")
ELSEWHERE: Row = (b"2", b"x", b"y")
OLD_KEY: Row = (b"2", None, None)


@pytest.mark.parametrize(
    ("change", "effect"),
    [
        (Insert(USERS, NEW), Enter(NEW)),
        (Update(USERS, None, NEW), Alter(None, NEW)),
        (Update(USERS, OLD, NEW, True), Alter(OLD, NEW)),
        (Update(USERS, ELSEWHERE, NEW, True), Rekey(ELSEWHERE, NEW, True)),
        (Update(USERS, OLD_KEY, NEW), Rekey(OLD_KEY, NEW, False)),
        (Update(USERS, (b"1", None, None), NEW), Alter(None, NEW)),
        (Delete(USERS, OLD_KEY), Leave(OLD_KEY)),
        (Delete(USERS, OLD, True), Leave(OLD)),
        (Truncate(USERS), Clear()),
    ],
)
def test_each_change_has_its_effect(change: Change, effect: Effect) -> None:
    assert effect_of(change, KEY) == effect


@pytest.mark.parametrize(
    "effect", [Enter(NEW), Alter(OLD, NEW), Rekey(OLD, NEW, True), Leave(OLD)], ids=repr
)
def test_nobody_alters_an_effect_that_others_see(effect: Enter | Alter | Rekey | Leave) -> None:
    for field in effect.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(effect, field, None)


def test_a_change_of_any_column_of_a_long_key_is_a_rekey() -> None:
    change = Update(USERS, (b"1", b"x", b"b"), NEW, True)
    assert effect_of(change, (0,)) == Alter((b"1", b"x", b"b"), NEW)
    assert effect_of(change, (0, 1)) == Rekey((b"1", b"x", b"b"), NEW, True)


def test_unchanged_cells_come_from_the_whole_old_row() -> None:
    change = Update(USERS, OLD, (b"1", b"a", UNCHANGED), True)
    assert effect_of(change, KEY) == Alter(OLD, (b"1", b"a", b"y"))


def test_a_null_of_the_whole_old_row_is_a_value() -> None:
    old: Row = (b"1", b"x", None)
    assert effect_of(Update(USERS, old, (b"1", b"a", UNCHANGED), True), KEY) == Alter(
        old, (b"1", b"a", None)
    )


def test_an_unchanged_key_comes_from_the_old_key_and_is_no_rekey() -> None:
    change = Update(USERS, OLD_KEY, (UNCHANGED, b"a", b"b"))
    assert effect_of(change, KEY) == Alter(None, (b"2", b"a", b"b"))


def test_half_of_a_key_changed_and_half_unchanged_is_a_rekey_with_both() -> None:
    change = Update(USERS, (b"1", b"x", None), (b"2", UNCHANGED, UNCHANGED))
    effect = effect_of(change, (0, 1))
    assert effect == Rekey((b"1", b"x", None), (b"2", b"x", UNCHANGED), False)


def test_a_null_is_never_invented_for_a_column_that_the_old_key_does_not_hold() -> None:
    change = Update(USERS, OLD_KEY, (b"2", UNCHANGED, UNCHANGED))
    assert effect_of(change, KEY) == Alter(None, (b"2", UNCHANGED, UNCHANGED))


def test_without_an_old_row_unchanged_cells_stay_unknown() -> None:
    new: Row = (b"1", UNCHANGED, None)
    assert effect_of(Update(USERS, None, new), KEY) == Alter(None, new)


cells = st.sampled_from([b"a", b"b", None])
new_cells: st.SearchStrategy[Cell] = st.sampled_from([b"a", b"b", None, UNCHANGED])


@chance
@given(st.tuples(cells, cells, cells), st.tuples(new_cells, new_cells, new_cells), st.booleans())
def test_no_cell_of_the_effect_says_what_the_log_does_not(
    old: Row, new: Row, is_whole: bool
) -> None:
    known = old if is_whole else (old[0], None, None)
    effect = effect_of(Update(USERS, known, new, is_whole), KEY)
    assert isinstance(effect, Alter | Rekey)
    for i, cell in enumerate(new):
        if cell is not UNCHANGED:
            assert effect.new[i] == cell
        elif is_whole or i in KEY:
            assert effect.new[i] == old[i]
        else:
            assert effect.new[i] is UNCHANGED
    assert isinstance(effect, Rekey) == (effect.new[0] != old[0])
