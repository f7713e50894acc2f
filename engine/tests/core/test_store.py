"""Goal: the rows that a client shows are those of the database at one position, or an error.

Method: each rule by hand; `test_store_model.py` walks at random. What does not fit must change
nothing, anywhere.
"""

from __future__ import annotations

import copy
import math
from decimal import Decimal
from typing import Any

import pytest

from engine.tests.core.store_events import (
    COLUMNS,
    LSN,
    TRUNCATE,
    chunk,
    commit,
    delete,
    insert,
    join,
    rekey,
    shown,
    update,
)
from tidewire.core.protocol.events import (
    Committed,
    Opened,
    Progressed,
    RowChange,
    WasReset,
)
from tidewire.core.store import Store, Table
from tidewire.errors import Diverged


def filled(*bodies: str) -> tuple[Store, Table]:
    """Make a live table `a` whose rows are numbered from 1."""
    store = Store()
    table = store.add("a")
    join(store, "a")
    store.apply(chunk(*enumerate(bodies, 1)))
    store.apply(Progressed(LSN, ("a",)))
    return store, table


# --- what is shown, and when ---


def test_rows_become_visible_in_one_step_with_their_commits() -> None:
    store = Store()
    a, b = store.add("a"), store.add("b")
    join(store, "a", "b")
    store.apply(chunk((1, "x"), ids=("a", "b")))
    store.apply(chunk((2, "y"), ids=("a",), number=1))
    store.apply(commit(insert(3, "z"), delete(1), stage=True))
    assert (shown(a), shown(b), a.is_live) == ({}, {}, False)
    store.apply(Progressed(LSN))
    assert not a.is_live
    store.apply(Progressed(LSN, ("a", "b")))
    assert (shown(a), shown(b)) == ({2: "y", 3: "z"}, {1: "x"})
    assert (a.is_live, b.is_live, a.name) == (True, True, "public.a")


def test_a_commit_changes_all_tables_or_none() -> None:
    store = Store()
    a, b = store.add("a"), store.add("b")
    join(store, "a", "b")
    store.apply(chunk((1, "x"), ids=("a", "b")))
    store.apply(Progressed(LSN, ("a", "b")))
    before = copy.deepcopy((a.rows, b.rows))
    with pytest.raises(Diverged) as caught:
        store.apply(Committed(LSN, 1, 2, ({"a": [update(1, body="y")]}, {"b": [delete(2)]})))
    assert str(caught.value) == "diverged: public.b: delete of row 2, and there is none"
    assert (a.rows, b.rows) == before
    store.apply(Committed(LSN, 1, 2, ({"a": [update(1, body="y")], "b": [delete(1)]},)))
    assert (shown(a), shown(b)) == ({1: "y"}, {})


def test_during_a_reset_the_old_rows_stand_still_until_the_new_ones_take_their_place() -> None:
    store, table = filled("x")
    store.apply(WasReset(("a",), "lagged"))
    assert (shown(table), table.is_live) == ({1: "x"}, False)
    store.apply(chunk((7, "new")))
    assert shown(table) == {1: "x"}
    store.apply(Progressed(LSN, ("a",)))
    assert (shown(table), table.is_live) == ({7: "new"}, True)


def test_a_connection_that_ends_takes_the_staged_commits_and_leaves_the_staged_rows() -> None:
    store = Store()
    table = store.add("a")
    join(store, "a")
    store.apply(chunk((1, "x"), (2, "y")))
    store.apply(commit(delete(1), stage=True))
    join(store, "a")
    store.apply(chunk((3, "z"), number=1))
    store.apply(commit(delete(1), stage=True))
    store.apply(Progressed(LSN, ("a",)))
    assert shown(table) == {2: "y", 3: "z"}


def test_chunk_zero_begins_the_stage_anew() -> None:
    store = Store()
    table = store.add("a")
    join(store, "a")
    store.apply(chunk((1, "x")))
    store.apply(commit(insert(2), stage=True))
    store.apply(chunk((1, "y")))
    store.apply(Progressed(LSN, ("a",)))
    assert shown(table) == {1: "y"}


def test_rows_that_go_on_from_the_cursor_are_kept() -> None:
    store, table = filled("x")
    join(store, "a", mode="catchup")
    store.apply(commit(insert(2)))
    assert (shown(table), table.is_live) == ({1: "x", 2: "new"}, True)


@pytest.mark.parametrize(
    "more", [{"columns": (("id", "int4"),)}, {"key": ("id", "body")}, {"columns": COLUMNS[::-1]}]
)
def test_rows_do_not_go_on_in_another_form(more: dict[str, Any]) -> None:
    store, table = filled("x")
    with pytest.raises(Diverged, match="other columns"):
        join(store, "a", mode="catchup", **more)
    assert shown(table) == {1: "x"}
    join(store, "a", **more)
    assert shown(table) == {1: "x"}, "until the new copy is there"


def test_staged_rows_of_another_form_are_forgotten() -> None:
    store = Store()
    table = store.add("a")
    join(store, "a")
    store.apply(chunk((1, "x")))
    join(store, "a", columns=(("id", "int4"),))
    store.apply(Progressed(LSN, ("a",)))
    assert table.rows == {}


def test_starting_over_leaves_what_is_visible() -> None:
    store, table = filled("x")
    store.apply(WasReset(("a",), "lagged"))
    store.apply(chunk((2, "y")))
    store.start_over()
    assert (shown(table), table.is_live) == ({1: "x"}, False)
    store.apply(Progressed(LSN, ("a",)))
    assert shown(table) == {}


def test_rows_that_were_live_stand_still_after_starting_over() -> None:
    store, table = filled("x")
    store.start_over()
    assert (shown(table), table.is_live) == ({1: "x"}, False)


def test_staged_rows_are_not_those_that_are_shown() -> None:
    store, table = filled("x")
    store.apply(chunk((2, "y"), number=1))
    assert shown(table) == {1: "x"}


def test_rows_of_another_process_go_on() -> None:
    _, before = filled("x")
    store, table = Store(), before.frozen()
    table.is_live = True
    store.restore("a", table)
    join(store, "a", mode="catchup")
    store.apply(commit(insert(2)))
    assert (shown(table), shown(before)) == ({1: "x", 2: "new"}, {1: "x"})


def test_a_frozen_table_does_not_follow() -> None:
    store, table = filled("x")
    still = table.frozen()
    store.apply(commit(update(1, body="y"), insert(2)))
    assert (shown(still), still.name, still.key) == ({1: "x"}, "public.a", ("id",))


def test_what_nobody_holds_is_passed_over() -> None:
    store, table = filled("x")
    store.remove("a")
    store.remove("a")
    join(store, "a", mode="catchup", columns=())
    store.apply(chunk((1, "x"), number=1))
    store.apply(commit(delete(9)))
    store.apply(WasReset(("a",), "lagged"))
    store.apply(Progressed(LSN, ("a",)))
    store.apply(Opened("s", "e"))
    assert (shown(table), table.is_live) == ({1: "x"}, True), "who has it can still read it"


# --- changes that are applied together ---


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ([rekey(1, 2), rekey(2, 1)], {1: "y", 2: "x"}),
        ([rekey(1, 2), rekey(2, 3), insert(1)], {1: "new", 2: "x", 3: "y"}),
        ([delete(1), rekey(2, 1, body="moved")], {1: "moved"}),
        ([rekey(2, 1), delete(1)], {1: "y"}),
        ([TRUNCATE], {}),
        ([insert(1), TRUNCATE], {1: "new"}),
        ([update(1, body="a", id=1), update(2)], {1: "a", 2: "y"}),
        ([insert(3), delete(2)], {1: "x", 3: "new"}),
    ],
)
@pytest.mark.parametrize("is_staged", [False, True])
def test_all_leave_before_any_arrives(
    changes: list[RowChange], rows: dict[int, str], is_staged: bool
) -> None:
    store, table = filled("x", "y")
    if is_staged:
        join(store, "a")
        store.apply(chunk((1, "x"), (2, "y")))
    store.apply(commit(*changes, stage=is_staged))
    store.apply(Progressed(LSN, ("a",) if is_staged else ()))
    assert shown(table) == rows
    assert all(row["id"] == name for name, row in table.rows.items())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ([update(9)], "update of row 9, and there is none"),
        ([delete(9)], "delete of row 9"),
        ([rekey(9, 3)], "rekey of row 9"),
        ([insert(1)], "row 1 was to be added, and there is one"),
        ([rekey(1, 2)], "row 2 was to be added"),
        ([insert(3), insert(3)], "row 3 was to be added"),
        ([delete(1), delete(1)], "delete of row 1"),
        ([TRUNCATE, delete(1)], "delete of row 1"),
    ],
)
@pytest.mark.parametrize("is_staged", [False, True])
def test_a_change_that_does_not_fit_is_refused_and_changes_nothing(
    changes: list[RowChange], text: str, is_staged: bool
) -> None:
    store, table = filled("x", "y")
    if is_staged:
        join(store, "a")
        store.apply(chunk((1, "x"), (2, "y")))
    with pytest.raises(Diverged, match=text) as caught:
        store.apply(commit(insert(8), *changes, stage=is_staged))
    assert caught.value.table == "public.a"
    store.apply(Progressed(LSN, ("a",) if is_staged else ()))
    assert shown(table) == {1: "x", 2: "y"}


def test_the_steps_of_one_commit_are_applied_one_after_the_other() -> None:
    store, table = filled("x")
    steps = ({"a": [TRUNCATE]}, {"a": [insert(1, "y")]}, {"a": [delete(1), insert(2)]})
    store.apply(Committed(LSN, 1, 2, steps))
    assert shown(table) == {2: "new"}


def test_a_row_twice_in_one_copy_is_refused() -> None:
    store = Store()
    table = store.add("a")
    join(store, "a")
    with pytest.raises(Diverged, match="twice"):
        store.apply(chunk((1, "x"), (1, "y")))
    store.apply(chunk((1, "x")))
    with pytest.raises(Diverged, match="twice"):
        store.apply(chunk((2, "y"), (1, "y"), number=1))
    store.apply(Progressed(LSN, ("a",)))
    assert shown(table) == {1: "x"}


# --- rows and their names ---


def test_rows_stand_in_the_order_of_their_arrival() -> None:
    store, table = filled("x", "y", "z")
    store.apply(commit(update(1, body="still first"), rekey(2, 4), insert(5)))
    assert list(table.rows) == [1, 3, 4, 5]
    store.apply(commit(delete(1), rekey(4, 1)))
    assert list(table.rows) == [3, 5, 1]


def test_a_row_that_somebody_holds_does_not_change() -> None:
    store, table = filled("x")
    held = table.rows[1]
    change = insert(2)
    store.apply(commit(update(1, body="y"), change))
    assert (held, table.rows[1]["body"]) == ({"id": 1, "body": "x"}, "y")
    assert table.rows[2] is not change.values


def test_a_key_of_several_columns_is_a_tuple() -> None:
    store = Store()
    table = store.add("a")
    join(store, "a", key=("body", "id"))
    store.apply(chunk((1, "x")))
    store.apply(Progressed(LSN, ("a",)))
    store.apply(commit(RowChange("rekey", ("y", 1), {"body": "y"}, ("x", 1))))
    assert table.rows == {("y", 1): {"id": 1, "body": "y"}}


@pytest.mark.parametrize(
    ("type_name", "key", "same", "name"),
    [
        ("float8", math.nan, float("nan"), "NaN"),
        ("numeric", Decimal("NaN"), Decimal("NaN"), "NaN"),
        ("numeric", Decimal("1.50"), Decimal("1.5"), Decimal("1.5")),
        ("jsonb", {"b": 1, "a": [2]}, {"a": [2], "b": 1}, '{"a": [2], "b": 1}'),
        ("jsonb", Decimal("1E+30"), Decimal("1E+30"), '"1E+30"'),
        ("jsonb", True, True, "true"),
    ],
)
def test_keys_that_python_cannot_compare_have_names_that_it_can(
    type_name: str, key: object, same: object, name: object
) -> None:
    store = Store()
    table = store.add("a")
    join(store, "a", columns=(("id", type_name), ("body", "text")))
    store.apply(chunk((key, "x")))
    store.apply(Progressed(LSN, ("a",)))
    store.apply(commit(RowChange("update", (same,), {"body": "y"})))
    assert shown(table) == {name: "y"}
