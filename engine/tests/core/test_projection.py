"""A transaction looked at through shapes: who sees which change, and in which bytes.

Method: relations and transactions as values; the JSON that comes out is read back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given

from engine.tests.core import pgoutput
from engine.tests.core.wal.tables import OIDS, Sample, chance, samples, table
from tidewire.core.model.change import UNCHANGED, Row
from tidewire.core.model.lsn import Lsn, Xid
from tidewire.core.model.relation import Column, Identity, JsonForm, Relation
from tidewire.core.model.transaction import RowMessage, Transaction
from tidewire.core.projection import Projection, Seen
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import Shape, ShapeColumn, ShapeId, ShapeSpec
from tidewire.errors import DecodeError

NAMES = ("id", "name", "note")
USERS = table(JsonForm.NUMBER, JsonForm.TEXT, JsonForm.TEXT, names=NAMES)
FULL = table(JsonForm.NUMBER, JsonForm.TEXT, JsonForm.TEXT, names=NAMES, identity=Identity.FULL)
INSERT = pgoutput.insert(1, [b"1", b"ada", None])
CORRUPT = INSERT[:-1]


def spec(oid: int = 1, columns: Sequence[str] = NAMES, key: Sequence[str] = ("id",)) -> ShapeSpec:
    shape_columns = tuple(ShapeColumn(name, "text") for name in columns)
    return ShapeSpec(oid, "public", "t", shape_columns, tuple(key))


def transaction(*rows: RowMessage) -> Transaction:
    return Transaction(Lsn(9), Xid(1), 1, rows, sum(len(data) for _, data in rows), len(rows))


def see(relation: Relation, *messages: bytes, shape: ShapeSpec | None = None) -> list[object]:
    """Return the changes that one shape sees of some row messages."""
    index = ShapeIndex()
    held = index.acquire(shape or spec())
    rows = [(relation, message) for message in messages]
    found = Projection(index).look(transaction(*rows)).changes
    return [json.loads(change) for change in found.get(held.id, [])]


ROW: Row = (b"1", b"ada", None)
MOVED: Row = (b"2", b"ada", None)


@pytest.mark.parametrize(
    ("relation", "message", "change"),
    [
        (USERS, INSERT, ["i", [1, "ada", None]]),
        (
            USERS,
            pgoutput.update(1, ROW),
            ["u", [1], {"id": 1, "name": "ada", "note": None}],
        ),
        (
            USERS,
            pgoutput.update(1, (b"1", b"eve", UNCHANGED)),
            ["u", [1], {"id": 1, "name": "eve"}],
        ),
        (FULL, pgoutput.update(1, (b"1", b"eve", None), ROW, "O"), ["u", [1], {"name": "eve"}]),
        (
            USERS,
            pgoutput.update(1, MOVED, (b"1", None, None)),
            ["k", [1], [2], {"id": 2, "name": "ada", "note": None}],
        ),
        (
            USERS,
            pgoutput.update(1, (b"2", b"ada", UNCHANGED), (b"1", None, None)),
            ["k", [1], [2], {"id": 2, "name": "ada"}],
        ),
        (FULL, pgoutput.update(1, MOVED, ROW, "O"), ["k", [1], [2], {"id": 2}]),
        (USERS, pgoutput.delete(1, (b"1", None, None)), ["d", [1]]),
        (FULL, pgoutput.delete(1, ROW, "O"), ["d", [1]]),
        (USERS, b"T\0\0\0\1", ["t"]),
    ],
)
def test_each_message_is_the_change_that_the_wire_promises(
    relation: Relation, message: bytes, change: list[object]
) -> None:
    assert see(relation, message) == [change]


def test_an_update_that_changes_none_of_the_columns_is_no_change() -> None:
    same = pgoutput.update(1, (b"1", b"ada", UNCHANGED), ROW, "O")
    assert see(FULL, same) == []
    assert see(FULL, same, same) == []
    note = pgoutput.update(1, (b"1", b"ada", b"x"), ROW, "O")
    assert see(FULL, note, shape=spec(columns=("id", "name"))) == []
    assert see(USERS, pgoutput.update(1, (b"1", b"ada", UNCHANGED))) == [
        ["u", [1], {"id": 1, "name": "ada"}]
    ], "without the old row nobody knows"


def test_what_happens_to_one_row_is_one_change() -> None:
    found = see(USERS, pgoutput.delete(1, (b"1", None, None)), b"T\0\0\0\1", INSERT)
    assert found == [["t"], ["i", [1, "ada", None]]]
    eve = pgoutput.update(1, (b"1", b"eve", UNCHANGED))
    assert see(USERS, INSERT, eve) == [["i", [1, "eve", None]]]
    assert see(USERS, INSERT, eve, pgoutput.delete(1, (b"1", None, None))) == []
    assert see(USERS, pgoutput.delete(1, (b"1", None, None)), INSERT) == [
        ["u", [1], {"id": 1, "name": "ada", "note": None}]
    ]


def test_rows_may_swap_their_keys() -> None:
    moves = [(b"1", b"3"), (b"2", b"1"), (b"3", b"2")]
    messages = [
        pgoutput.update(1, (new, UNCHANGED, UNCHANGED), (old, None, None)) for old, new in moves
    ]
    assert see(USERS, *messages) == [["k", [2], [1], {"id": 1}], ["k", [1], [2], {"id": 2}]]


def test_a_shape_sees_its_columns_only_and_in_its_order() -> None:
    narrow = spec(columns=("note", "id"))
    messages = [INSERT, pgoutput.update(1, (b"1", b"eve", b"x"), ROW, "O")]
    found = see(FULL, *messages, shape=narrow)
    assert found == [["i", ["x", 1]]]


def test_a_key_need_not_be_among_the_columns() -> None:
    found = see(USERS, pgoutput.update(1, (b"1", b"eve", None)), shape=spec(columns=("name",)))
    assert found == [["u", [1], {"name": "eve"}]]


def test_a_key_of_two_columns_is_a_pair() -> None:
    pair = table(JsonForm.NUMBER, JsonForm.TEXT, JsonForm.TEXT, names=NAMES, key=(0, 1))
    found = see(
        pair,
        pgoutput.update(1, (b"1", b"b", None), (b"1", b"a", None)),
        shape=spec(columns=("note",), key=("name", "id")),
    )
    assert found == [["k", ["a", 1], ["b", 1], {"note": None}]]


@chance
@given(samples())
def test_an_updated_row_reads_like_an_inserted_one(sample: Sample) -> None:
    key = Column("key", OIDS[JsonForm.NUMBER], -1, True, JsonForm.NUMBER)
    relation = msgspec.structs.replace(sample.relation, columns=(key, *sample.relation.columns))
    names = [column.name for column in relation.columns]
    row = (b"1", *sample.cells)
    shape = spec(columns=names, key=("key",))
    (inserted,) = see(relation, pgoutput.insert(1, row), shape=shape)
    (updated,) = see(relation, pgoutput.update(1, row), shape=shape)
    (folded,) = see(relation, pgoutput.insert(1, row), pgoutput.update(1, row), shape=shape)
    assert folded == inserted
    expected = [1, *(value.python for value in sample.row)]
    assert inserted == ["i", expected]
    assert updated == ["u", [1], dict(zip(names, expected, strict=True))]


# --- who sees it ---


def test_every_shape_of_a_table_sees_it_and_no_other() -> None:
    index = ShapeIndex()
    whole, narrow, other = (
        index.acquire(wanted) for wanted in (spec(), spec(columns=("id",)), spec(oid=2))
    )
    found = Projection(index).look(transaction((USERS, INSERT), (USERS, INSERT))).changes
    assert found == {whole.id: [b'["i",[1,"ada",null]]'] * 2, narrow.id: [b'["i",[1]]'] * 2}
    assert other.id not in found


def test_a_transaction_that_touches_no_shape_changes_nothing() -> None:
    assert Projection(ShapeIndex()).look(transaction((USERS, INSERT))).changes == {}


def test_a_message_of_a_table_that_no_shape_covers_is_not_decoded() -> None:
    index = ShapeIndex()
    index.acquire(spec(oid=2))
    projection = Projection(index)
    assert projection.look(transaction((USERS, CORRUPT))).changes == {}
    assert projection.look(transaction((USERS, CORRUPT), (USERS, CORRUPT))).changes == {}


def test_a_sight_is_through_its_shapes_only_and_begins_anew_when_taken() -> None:
    index = ShapeIndex()
    index.acquire(spec())
    narrow = index.acquire(spec(columns=("id",)))
    uncovered = msgspec.structs.replace(USERS, oid=2)
    sight = Projection(index).sight([narrow.id])
    assert sight.see((USERS, INSERT)) == len(INSERT)
    assert sight.see((uncovered, INSERT)) == 0
    assert sight.take() == {narrow.id: [b'["i",[1]]']}
    assert sight.take() == {}
    assert sight.see((USERS, pgoutput.delete(1, (b"1", None, None)))) > 0
    assert sight.take() == {narrow.id: [b'["d",[1]]']}


def test_a_shape_that_comes_or_goes_is_noticed_at_once() -> None:
    index = ShapeIndex()
    projection = Projection(index)
    row = transaction((USERS, INSERT))
    seen: list[set[ShapeId]] = [set(projection.look(row).changes)]
    first = index.acquire(spec())
    seen.append(set(projection.look(row).changes))
    second = index.acquire(spec(columns=("id",)))
    seen.append(set(projection.look(row).changes))
    index.release(first)
    seen.append(set(projection.look(row).changes))
    assert seen == [set(), {first.id}, {first.id, second.id}, {second.id}]


def test_the_first_shape_after_the_last_has_gone_is_seen_as_itself() -> None:
    index = ShapeIndex()
    projection = Projection(index)
    first = index.acquire(spec())
    projection.look(transaction((USERS, INSERT)))
    index.release(first)
    second = index.acquire(spec(columns=("id",)))
    assert projection.look(transaction((USERS, INSERT))).changes == {second.id: [b'["i",[1]]']}


# --- versions of the table ---


def look_at(relation: Relation, wanted: ShapeSpec) -> tuple[Shape, Seen]:
    index = ShapeIndex()
    shape = index.acquire(wanted)
    message = pgoutput.insert(1, [b"1"] * len(relation.columns))
    return shape, Projection(index).look(transaction((relation, message)))


@pytest.mark.parametrize(
    ("relation", "wanted"),
    [
        (USERS, spec(columns=("id", "gone"))),
        (USERS, spec(key=("gone",))),
        (USERS, spec(key=("id", "name"))),
        (
            table(JsonForm.NUMBER, names=("id",), identity=Identity.NOTHING, key=()),
            spec(columns=()),
        ),
        (FULL, spec(key=("gone",))),
    ],
    ids=["column", "key", "key not in identity", "no identity", "key under full identity"],
)
def test_a_shape_that_the_table_does_not_fit_is_named_and_sees_nothing(
    relation: Relation, wanted: ShapeSpec
) -> None:
    shape, seen = look_at(relation, wanted)
    assert not seen.changes
    assert seen.unfit == {shape.id}
    index = ShapeIndex()
    index.acquire(wanted)
    sight = Projection(index).sight([shape.id])
    for _ in range(2):
        assert sight.see((relation, pgoutput.insert(1, [b"1"] * len(relation.columns)))) == 0
    assert sight.take() == {}
    assert sight.unfit == {shape.id}


def test_a_column_that_got_another_type_does_not_fit() -> None:
    retyped = ShapeSpec(1, "public", "users", (ShapeColumn("id", "int8", 20),), ("id",))
    assert USERS.columns[0].type_oid != 20
    shape, seen = look_at(USERS, retyped)
    assert seen.unfit == {shape.id}


@pytest.mark.parametrize(
    ("relation", "wanted"), [(USERS, spec()), (FULL, spec(key=("note", "name"))), (USERS, spec(2))]
)
def test_a_shape_that_fits_or_is_not_touched_is_not_unfit(
    relation: Relation, wanted: ShapeSpec
) -> None:
    assert look_at(relation, wanted)[1].unfit == set()


def test_an_unfit_shape_does_not_take_its_neighbours_along() -> None:
    index = ShapeIndex()
    index.acquire(spec(columns=("gone",)))
    sound = index.acquire(spec())
    assert set(Projection(index).look(transaction((USERS, INSERT))).changes) == {sound.id}


def test_each_row_is_read_with_the_version_that_wrote_it() -> None:
    index = ShapeIndex()
    shape = index.acquire(spec(columns=("id", "name")))
    projection = Projection(index)
    later = pgoutput.insert(1, [b"eve", b"2"])
    third = pgoutput.insert(1, [b"3", b"joe", None])
    seen = projection.look(transaction((USERS, INSERT), (DROPPED, later), (USERS, third)))
    assert seen.changes[shape.id] == [
        b'["i",[1,"ada"]]',
        b'["i",[2,"eve"]]',
        b'["i",[3,"joe"]]',
    ]
    assert seen.unfit == set()


DROPPED = table(JsonForm.TEXT, JsonForm.NUMBER, names=("name", "id"), key=(1,))


def test_a_row_that_changed_under_two_versions_is_one_change() -> None:
    index = ShapeIndex()
    shape = index.acquire(spec(columns=("id", "name")))
    seen = Projection(index).look(
        transaction((USERS, INSERT), (DROPPED, pgoutput.update(1, [b"eve", b"1"])))
    )
    assert seen.changes == {shape.id: [b'["i",[1,"eve"]]']}


def test_a_shape_that_a_later_version_does_not_fit_sees_nothing_of_the_commit() -> None:
    index = ShapeIndex()
    lost, sound = index.acquire(spec()), index.acquire(spec(columns=("id",)))
    later = pgoutput.insert(1, [b"eve", b"2"])
    seen = Projection(index).look(transaction((USERS, INSERT), (DROPPED, later)))
    assert seen.changes == {sound.id: [b'["i",[1]]', b'["i",[2]]']}
    assert seen.unfit == {lost.id}


def test_the_newest_versions_of_a_table_are_kept_ready() -> None:
    index = ShapeIndex()
    shape = index.acquire(spec())
    projection = Projection(index)
    versions = [msgspec.structs.replace(USERS) for _ in range(9)]
    for version in versions:
        projection.look(transaction((version, INSERT)))
    kept = projection._lenses[1]
    assert [lens.relation for lens in kept] == versions[:-5:-1]
    projection.look(transaction((versions[-2], INSERT)))
    assert projection._lenses[1][1] is kept[1]
    index.release(shape)
    projection.look(transaction((USERS, INSERT)))
    assert projection._lenses == {}, "a table that nobody wants any more takes no memory"


# --- what is not sound ---


@pytest.mark.parametrize(
    "message",
    [
        CORRUPT,
        pgoutput.insert(1, [b"1", b"\xff", None]),
        pgoutput.update(1, [b"1", b"\xff", None]),
        pgoutput.update(1, [b"1", b"ada", None])[:-1],
        pgoutput.update(1, [b"2", b"ada", None], [b"1", b"\xff", None], "O") + b"\0",
        pgoutput.delete(1, [b"1", UNCHANGED, None]),
        b"X",
    ],
)
@pytest.mark.parametrize("relation", [USERS, FULL])
def test_a_message_that_is_not_sound_is_a_decode_error(relation: Relation, message: bytes) -> None:
    with pytest.raises(DecodeError):
        see(relation, message)
    with pytest.raises(DecodeError):
        see(relation, INSERT, message)
    with pytest.raises(DecodeError):
        see(relation, b"T\0\0\0\1", pgoutput.insert(1, [b"9", b"eve", None]), message)


@pytest.mark.parametrize("form", JsonForm)
def test_a_key_that_the_log_does_not_carry_is_a_decode_error(form: JsonForm) -> None:
    relation = table(form, JsonForm.TEXT, names=("id", "name"))
    message = pgoutput.update(1, (UNCHANGED, b"ada"))
    with pytest.raises(DecodeError):
        see(relation, message, shape=spec(columns=("name",)))
