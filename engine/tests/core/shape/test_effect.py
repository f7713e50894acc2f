"""What a change means for a shape: the table at the head of `effect.py`, row by row.

Method: one change in, one effect out; and the rules for cells that the log does not carry.
"""

from __future__ import annotations

from operator import itemgetter

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
from tidewire.core.model.relation import Identity, JsonForm, Relation
from tidewire.core.shape.effect import (
    Alter,
    Aspect,
    Clear,
    Effect,
    Enter,
    Leave,
    Move,
    Rekey,
    effect_of,
    filled,
    known_rows,
    move_of,
)
from tidewire.errors import DecodeError

FORMS = (JsonForm.NUMBER, JsonForm.TEXT, JsonForm.TEXT)
USERS = table(*FORMS)
PAIR = table(*FORMS, key=(0, 1))
FULL = table(*FORMS, identity=Identity.FULL)
# The columns 1 and 2 under the key 0: what is shown ends with the key.
SHOWN = Aspect(itemgetter(1, 2, 0), 2)
NEW: Row = (b"1", b"a", b"b")
OLD: Row = (b"1", b"x", b"y")
ELSEWHERE: Row = (b"2", b"x", b"y")
OLD_KEY: Row = (b"2", None, None)


def shown(row: Row) -> Row:
    return SHOWN.pick(row)


@pytest.mark.parametrize(
    ("change", "effect"),
    [
        (Insert(USERS, NEW), Enter(shown(NEW))),
        (Update(USERS, None, NEW), Alter(None, shown(NEW))),
        (Update(FULL, OLD, NEW, True), Alter(shown(OLD), shown(NEW))),
        (Update(FULL, ELSEWHERE, NEW, True), Rekey(shown(ELSEWHERE), shown(NEW), True)),
        (Update(USERS, OLD_KEY, NEW), Rekey(shown(OLD_KEY), shown(NEW), False)),
        (Update(USERS, (b"1", None, None), NEW), Alter(None, shown(NEW))),
        (Delete(USERS, OLD_KEY), Leave(shown(OLD_KEY))),
        (Delete(FULL, OLD, True), Leave(shown(OLD))),
        (Truncate(USERS), Clear()),
    ],
)
def test_each_change_of_a_row_that_stays_has_its_effect(change: Change, effect: Effect) -> None:
    assert effect_of(change, SHOWN) == effect


@pytest.mark.parametrize(
    ("move", "effect"),
    [
        (Move.ENTERS, Enter(shown(NEW))),
        (Move.LEAVES, Leave(shown(ELSEWHERE))),
        (Move.STAYS, Rekey(shown(ELSEWHERE), shown(NEW), True)),
    ],
)
def test_an_update_is_what_its_move_makes_of_it(move: Move, effect: Effect) -> None:
    assert effect_of(Update(FULL, ELSEWHERE, NEW, True), SHOWN, move) == effect


@pytest.mark.parametrize(
    "effect", [Enter(NEW), Alter(OLD, NEW), Rekey(OLD, NEW, True), Leave(OLD)], ids=repr
)
def test_nobody_alters_an_effect_that_others_see(effect: Enter | Alter | Rekey | Leave) -> None:
    for field in effect.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(effect, field, None)


def test_a_change_of_any_column_of_a_long_key_is_a_rekey() -> None:
    change = Update(FULL, (b"1", b"x", b"b"), NEW, True)
    narrow, wide = Aspect(itemgetter(2, 0), 1), Aspect(itemgetter(2, 0, 1), 1)
    assert effect_of(change, narrow) == Alter((b"b", b"1"), (b"b", b"1"))
    assert effect_of(change, wide) == Rekey((b"b", b"1", b"x"), (b"b", b"1", b"a"), True)


def test_a_key_that_is_not_told_is_an_error() -> None:
    with pytest.raises(DecodeError, match="key"):
        effect_of(Update(USERS, None, (UNCHANGED, b"a", b"b")), SHOWN)


# --- cells that the log does not carry ---


@pytest.mark.parametrize(
    ("change", "new"),
    [
        (Update(FULL, OLD, (b"1", b"a", UNCHANGED), True), (b"1", b"a", b"y")),
        (Update(FULL, (b"1", b"x", None), (b"1", b"a", UNCHANGED), True), (b"1", b"a", None)),
        (Update(USERS, OLD_KEY, (UNCHANGED, b"a", b"b")), (b"2", b"a", b"b")),
        (
            Update(PAIR, (b"1", b"x", None), (b"2", UNCHANGED, UNCHANGED)),
            (b"2", b"x", UNCHANGED),
        ),
        (Update(USERS, OLD_KEY, (b"2", UNCHANGED, UNCHANGED)), (b"2", UNCHANGED, UNCHANGED)),
        (Update(USERS, None, (b"1", UNCHANGED, None)), (b"1", UNCHANGED, None)),
        (Update(FULL, OLD_KEY, (UNCHANGED, b"a", b"b")), (UNCHANGED, b"a", b"b")),
    ],
    ids=[
        "whole",
        "a null of a whole row is a value",
        "key",
        "half a key",
        "no null is invented",
        "no old row",
        "identity columns of a version that has none",
    ],
)
def test_unchanged_cells_come_from_what_is_known_of_the_old_row(change: Update, new: Row) -> None:
    found = filled(change)
    assert isinstance(found, Update)
    assert found == Update(change.relation, change.old, new, change.old_is_whole)


def test_what_is_whole_is_not_made_again() -> None:
    for change in (Insert(USERS, NEW), Update(FULL, OLD, NEW, True), Truncate(USERS)):
        assert filled(change) is change


cells = st.sampled_from([b"a", b"b", None])
new_cells: st.SearchStrategy[Cell] = st.sampled_from([b"a", b"b", None, UNCHANGED])


@chance
@given(st.tuples(cells, cells, cells), st.tuples(new_cells, new_cells, new_cells), st.booleans())
def test_no_cell_of_the_effect_says_what_the_log_does_not(
    old: Row, new: Row, is_whole: bool
) -> None:
    known = old if is_whole else (old[0], None, None)
    effect = effect_of(filled(Update(FULL if is_whole else USERS, known, new, is_whole)), SHOWN)
    assert isinstance(effect, Alter | Rekey)
    for at, i in enumerate((1, 2, 0)):
        if new[i] is not UNCHANGED:
            assert effect.new[at] == new[i]
        elif is_whole or i == 0:
            assert effect.new[at] == old[i]
        else:
            assert effect.new[at] is UNCHANGED
    assert isinstance(effect, Rekey) == (effect.new[2] != old[0])


# --- conditions ---


def is_low(row: Row) -> bool:
    """Judge like `c0 < 5` would, for one digit."""
    assert isinstance(row[0], bytes)
    return row[0] < b"5"


LOW, LOWER, HIGH, HIGHER = b"1", b"2", b"7", b"8"


def update(relation: Relation, old: bytes | None, new: bytes) -> Update:
    is_whole = relation is FULL
    before: Row | None = None if old is None else (old, *(OLD[1:] if is_whole else (None, None)))
    return Update(relation, before, (new, b"a", b"b"), is_whole and old is not None)


@pytest.mark.parametrize(
    ("change", "move"),
    [
        (Insert(USERS, (LOW, None, None)), Move.ENTERS),
        (Insert(USERS, (HIGH, None, None)), Move.ELSEWHERE),
        (Delete(USERS, (LOW, None, None)), Move.LEAVES),
        (Delete(USERS, (HIGH, None, None)), Move.ELSEWHERE),
        (Delete(FULL, (LOW, b"a", b"b"), True), Move.LEAVES),
        (Truncate(USERS), Move.STAYS),
        (update(USERS, None, LOW), Move.STAYS),
        (update(USERS, None, HIGH), Move.ELSEWHERE),
        *(
            (update(relation, old, new), move)
            for relation in (USERS, FULL)
            for old, new, move in (
                (LOW, LOWER, Move.STAYS),
                (LOW, HIGH, Move.LEAVES),
                (HIGH, LOW, Move.ENTERS),
                (HIGH, HIGHER, Move.ELSEWHERE),
            )
        ),
    ],
)
def test_old_and_new_row_are_both_judged(change: Change, move: Move) -> None:
    assert move_of(change, is_low, (0,)) is move


@pytest.mark.parametrize(
    "change",
    [
        Update(USERS, None, (UNCHANGED, b"a", b"b")),
        Update(FULL, None, (LOW, b"a", b"b")),
        Update(FULL, (LOW, None, None), (LOW, b"a", b"b")),
        Delete(FULL, (LOW, None, None)),
    ],
    ids=["not told", "no old row", "a part of the old row", "a part of the row"],
)
def test_what_a_condition_cannot_know_is_never_guessed(change: Change) -> None:
    assert move_of(change, is_low, (0,)) is Move.UNKNOWN


def test_an_unchanged_cell_that_the_condition_does_not_look_at_is_nothing_to_it() -> None:
    assert move_of(Update(USERS, None, (LOW, UNCHANGED, b"b")), is_low, (0,)) is Move.STAYS


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (Insert(USERS, NEW), (NEW,)),
        (Update(USERS, None, NEW), (NEW,)),
        (Update(USERS, OLD_KEY, NEW), (OLD_KEY, NEW)),
        (Update(FULL, OLD, NEW, True), (OLD, NEW)),
        (Delete(USERS, OLD_KEY), (OLD_KEY,)),
        (Truncate(USERS), None),
        (Update(FULL, None, NEW), None),
        (Delete(FULL, OLD_KEY), None),
    ],
)
def test_the_rows_that_tell_which_conditions_are_concerned(
    change: Change, rows: tuple[Row, ...] | None
) -> None:
    assert known_rows(change) == rows
