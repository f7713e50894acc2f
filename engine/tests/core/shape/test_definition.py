"""Goal: shapes end when, and only when, their rows or columns may be others than clients have.

Method: one definition is changed in one place; several layouts are asked whether they can go on.
"""

from __future__ import annotations

import msgspec
import pytest

from tidewire.core.model.relation import Identity
from tidewire.core.shape.ast import Column, Compare, Operator, Value
from tidewire.core.shape.definition import (
    ColumnDefinition,
    Definition,
    Label,
    Partition,
    find_fault,
    find_unfit,
)
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.layout import Layout
from tidewire.core.shape.predicate import Predicate
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec
from tidewire.core.shape.types import ColumnType, Kind

INT, TEXT = 23, 25
ID = ColumnDefinition(1, "id", INT, 700)
TITLE = ColumnDefinition(2, "title", TEXT, 700)


def labels(*names: str) -> tuple[Label, ...]:
    """Make labels; those that are not `new` and `done` came later."""
    known = {"new": 16402, "done": 16404}
    return tuple(Label(known.get(name, 16800), name) for name in names)


STATE = ColumnDefinition(3, "state", 16400, 700, labels("new", "done"))
WAS = Definition(
    oid=16384,
    schema="public",
    name="notes",
    obstacle=None,
    publication=16500,
    identity=Identity.DEFAULT,
    key=("id",),
    file=16384,
    columns=(ID, TITLE, STATE),
)
PARTED = msgspec.structs.replace(
    WAS, partitions=(Partition(1, 1, is_born=False), Partition(2, 2, is_born=True))
)


def now(definition: Definition = WAS, **changes: object) -> Definition:
    return msgspec.structs.replace(definition, **changes)


def column(old: ColumnDefinition, **changes: object) -> tuple[ColumnDefinition, ...]:
    """Return all columns, one of them changed."""
    new = msgspec.structs.replace(old, **changes)
    return tuple(new if each is old else each for each in WAS.columns)


def spec(*names: str, where: str | None = None) -> ShapeSpec:
    types = {each.name: each.type_oid for each in WAS.columns}
    predicate = None
    if where:
        kind = ColumnType(Kind.TEXT, types[where], "pg_catalog", "text")
        tree = Compare(Column(where), Operator.EQ, Value(b"1"))
        predicate = Predicate(tree, ((where, kind),))
    columns = tuple(ShapeColumn(name, "any", types[name]) for name in ("id", *names))
    return ShapeSpec(WAS.oid, "public", "notes", columns, ("id",), where=predicate)


WHOLE, TITLES, KEYS = spec("title", "state"), spec("title"), spec()


def fault(shape: ShapeSpec, new: Definition, old: Definition = WAS) -> str | None:
    return find_fault(Layout(shape), old, new)


@pytest.mark.parametrize("shape", [WHOLE, TITLES, KEYS])
@pytest.mark.parametrize(
    "new",
    [
        WAS,
        now(file=17000),
        now(identity=Identity.FULL),
        now(columns=column(TITLE, written_by=800)),
        now(columns=column(STATE, labels=labels("new", "doing", "done", "gone"))),
        now(columns=(*WAS.columns, ColumnDefinition(4, "more", INT, 800))),
    ],
    ids=["same", "truncated or packed", "identity", "default", "label", "column added"],
)
def test_what_touches_no_value_disturbs_nobody(shape: ShapeSpec, new: Definition) -> None:
    assert fault(shape, new) is None


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (now(obstacle="it is unlogged now"), "it is unlogged now"),
        (now(publication=None), "it was taken out of the publication"),
        (now(publication=16501), "it was taken out of the publication"),
        (now(key=("title",)), "its key is another one"),
        (now(key=()), "its key is another one"),
        (now(identity=Identity.NOTHING), "id of an old row is not in the write-ahead log any more"),
    ],
)
@pytest.mark.parametrize("shape", [WHOLE, TITLES, KEYS])
def test_a_table_that_is_another_one_ends_all_its_shapes(
    shape: ShapeSpec, new: Definition, reason: str
) -> None:
    assert fault(shape, new) == reason


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ((ID, STATE), "column title is gone"),
        (column(TITLE, name="heading"), "column title is gone"),
        (column(TITLE, type_oid=INT), "column title has another type"),
        (column(TITLE, number=4), "column title was dropped and made again"),
        (column(TITLE, labels=labels("x")), None),
    ],
)
def test_a_column_that_is_another_one_ends_the_shapes_that_have_it(
    columns: tuple[ColumnDefinition, ...], reason: str | None
) -> None:
    assert [fault(shape, now(columns=columns)) for shape in (WHOLE, TITLES)] == [reason] * 2
    assert fault(KEYS, now(columns=columns)) is None


def test_only_a_new_file_with_a_new_definition_has_other_values() -> None:
    rewritten = now(file=17000, columns=column(TITLE, written_by=800))
    assert fault(TITLES, rewritten) == "column title was rewritten"
    assert fault(spec("state"), rewritten) is None


@pytest.mark.parametrize(
    "names", [("fresh", "done"), ("done", "new"), ("new",), (), ("new", "closed")]
)
def test_labels_that_are_others_or_in_another_order_end_the_shapes(names: tuple[str, ...]) -> None:
    new = now(columns=column(STATE, labels=labels(*names)))
    assert fault(WHOLE, new) == "values of column state are printed in another way"
    assert fault(TITLES, new) is None


def test_a_condition_needs_its_column_in_old_rows_and_its_values() -> None:
    some = spec(where="title")
    full = now(identity=Identity.FULL)
    assert fault(some, full, full) is None
    assert fault(some, WAS, full) == ("title of an old row is not in the write-ahead log any more")
    assert fault(KEYS, WAS, full) is None
    rewritten = now(full, file=17000, columns=column(TITLE, written_by=800))
    assert fault(some, rewritten, full) == "column title was rewritten"


def test_a_column_that_is_written_into_all_rows_is_wanted_by_those_who_have_all() -> None:
    new = now(file=17000, columns=(*WAS.columns, ColumnDefinition(4, "chance", INT, 800)))
    assert fault(WHOLE, new) == "column chance came with values"
    assert fault(TITLES, new) is None
    assert find_fault(WAS.layout, WAS, new) == "column chance came with values"


def test_a_shape_that_came_later_than_the_old_definition_is_judged_by_the_new_one() -> None:
    before = now(columns=(ID, TITLE))
    assert fault(WHOLE, WAS, before) is None
    assert fault(WHOLE, before, before) == "column state is gone"


def test_a_table_comes_back_into_the_publication_after_its_shapes_have_ended() -> None:
    assert fault(WHOLE, WAS, now(publication=None)) is None


@pytest.mark.parametrize(
    ("partitions", "reason"),
    [
        (PARTED.partitions, None),
        ((*PARTED.partitions, Partition(3, 3, is_born=True)), None),
        ((*PARTED.partitions, Partition(3, 0, is_born=True)), None),
        ((*PARTED.partitions, Partition(3, 3, is_born=False)), "a partition came with rows"),
        ((*PARTED.partitions, Partition(3, 9, is_born=True)), "a partition came with rows"),
        (PARTED.partitions[:1], "a partition is gone"),
        (
            (PARTED.partitions[0], Partition(2, 9, is_born=True)),
            "a partition was truncated or rewritten",
        ),
        (
            (PARTED.partitions[0], Partition(2, 2, is_born=True, attached_by=9)),
            "a partition was detached and came back",
        ),
    ],
)
def test_partitions_come_and_go_with_the_rows_that_are_in_them(
    partitions: tuple[Partition, ...], reason: str | None
) -> None:
    new = now(PARTED, partitions=partitions)
    assert [fault(shape, new, PARTED) for shape in (WHOLE, KEYS)] == [reason] * 2


def test_all_shapes_of_a_layout_end_together() -> None:
    index = ShapeIndex()
    whole, _ = index.acquire(WHOLE), index.acquire(TITLES)
    table = index.tables[WAS.oid]
    assert find_unfit(table, WAS, WAS) == {}
    assert find_unfit(table, WAS, now(columns=column(STATE, type_oid=INT))) == {
        whole.id: "column state has another type"
    }


@pytest.mark.parametrize("name", [("public", "memos"), ("attic", "notes")])
def test_a_table_that_has_another_name_is_not_what_its_shapes_are_of(name: tuple[str, str]) -> None:
    index = ShapeIndex()
    ids = [index.acquire(each).id for each in (WHOLE, TITLES)]
    new = now(schema=name[0], name=name[1])
    reason = f"it is called {'.'.join(name)} now"
    for old in (WAS, new):  # somebody may have looked it up before it was renamed
        assert find_unfit(index.tables[WAS.oid], old, new) == dict.fromkeys(ids, reason)
