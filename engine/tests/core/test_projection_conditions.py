"""Goal: a client with a condition has exactly the rows that satisfy it, whatever happens to them.

Method: transactions by chance against a table in memory, which writes the messages that PostgreSQL
would; a client that knows nothing but the wire follows. And single cases, where the log says less
than a condition wants to know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tests.core import pgoutput
from engine.tests.core.bench import message_of
from engine.tests.core.shape.conditions import INT, Broken, above, among, among_and_above
from engine.tests.core.spool import MemorySpool
from engine.tests.core.wal.tables import table
from tidewire.core.model.change import UNCHANGED, Cell
from tidewire.core.model.lsn import Lsn, Xid
from tidewire.core.model.relation import Identity, JsonForm, Relation
from tidewire.core.model.transaction import RowMessage, Transaction
from tidewire.core.parts import CommitParts
from tidewire.core.projection import Projection, Seen
from tidewire.core.shape.ast import Truth
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.predicate import Predicate
from tidewire.core.shape.shape import ShapeColumn, ShapeId, ShapeSpec

NAMES = ("id", "tenant", "note")
FORMS = (JsonForm.NUMBER, JsonForm.NUMBER, JsonForm.TEXT)
FULL = table(*FORMS, names=NAMES, identity=Identity.FULL)
PAIR = table(*FORMS, names=NAMES, key=(0, 1), identity=Identity.INDEX)
PLAIN = table(*FORMS, names=NAMES)
CLEAR = b"T\0\0\0\1"

Number: TypeAlias = int


def spec(
    where: Predicate | None, columns: Sequence[str] = NAMES, key: Sequence[str] = ("id",)
) -> ShapeSpec:
    shown = tuple(ShapeColumn(name, "any") for name in columns)
    return ShapeSpec(1, "public", "t", shown, tuple(key), where=where)


def transaction(*rows: RowMessage) -> Transaction:
    return Transaction(Lsn(9), Xid(1), 1, rows, sum(len(data) for _, data in rows), len(rows))


def look(where: Predicate | None, *rows: RowMessage, columns: Sequence[str] = NAMES) -> Seen:
    """See some messages through one shape, which is called s1."""
    index = ShapeIndex()
    index.acquire(spec(where, columns))
    return Projection(index).look(transaction(*rows))


def changes(seen: Seen) -> list[Any]:
    assert not seen.unfit
    return [json.loads(change) for change in seen.changes.get(ShapeId("s1"), [])]


def full(old: Sequence[Cell], new: Sequence[Cell]) -> RowMessage:
    return FULL, pgoutput.update(1, new, old, "O")


# --- old and new row ---

MINE, THEIRS = (b"1", b"7", b"x"), (b"1", b"8", b"x")
OWN = among("tenant", "7")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((FULL, pgoutput.insert(1, MINE)), [["i", [1, 7, "x"]]]),
        ((FULL, pgoutput.insert(1, THEIRS)), []),
        ((FULL, pgoutput.delete(1, MINE, "O")), [["d", [1]]]),
        ((FULL, pgoutput.delete(1, THEIRS, "O")), []),
        (full(MINE, (b"1", b"7", b"y")), [["u", [1], {"note": "y"}]]),
        (full(MINE, (b"2", b"7", b"x")), [["k", [1], [2], {"id": 2}]]),
        (full(MINE, (b"2", b"8", b"x")), [["d", [1]]]),
        (full(THEIRS, (b"2", b"7", UNCHANGED)), [["i", [2, 7, "x"]]]),
        (full(THEIRS, (b"2", b"8", UNCHANGED)), []),
        (full(MINE, MINE), []),
        ((FULL, CLEAR), [["t"]]),
        ((PAIR, pgoutput.delete(1, (b"1", b"7", None))), [["d", [1]]]),
        ((PAIR, pgoutput.update(1, MINE)), [["u", [1], {"id": 1, "tenant": 7, "note": "x"}]]),
        ((PAIR, pgoutput.update(1, (b"1", b"7", UNCHANGED))), [["u", [1], {"id": 1, "tenant": 7}]]),
        ((PAIR, pgoutput.update(1, THEIRS)), []),
        ((PAIR, pgoutput.update(1, THEIRS, (b"1", b"7", None))), [["d", [1]]]),
        ((PAIR, pgoutput.update(1, MINE, (b"1", b"8", None))), [["i", [1, 7, "x"]]]),
        (
            (PAIR, pgoutput.update(1, MINE, (b"3", b"7", None))),
            [["k", [3], [1], {"id": 1, "tenant": 7, "note": "x"}]],
        ),
    ],
)
def test_old_and_new_row_decide(row: RowMessage, expected: list[Any]) -> None:
    assert changes(look(OWN, row)) == expected


def test_a_row_that_left_and_came_back_is_an_update_with_all_columns() -> None:
    seen = look(OWN, full(MINE, THEIRS), full(THEIRS, MINE))
    assert changes(seen) == [["u", [1], {"id": 1, "tenant": 7, "note": "x"}]]


def test_a_condition_may_look_at_columns_that_are_not_shown() -> None:
    seen = look(OWN, full(THEIRS, MINE), columns=("note",))
    assert changes(seen) == [["i", ["x"]]]


# --- what the log does not tell ---


@pytest.mark.parametrize(
    ("where", "row"),
    [
        (OWN, (PLAIN, pgoutput.insert(1, THEIRS))),
        (OWN, (FULL, pgoutput.update(1, THEIRS))),
        (OWN, (FULL, pgoutput.delete(1, (b"1", None, None)))),
        (OWN, (PAIR, pgoutput.update(1, (b"1", UNCHANGED, b"x")))),
        (above("tenant", 100), (PAIR, pgoutput.update(1, (b"1", UNCHANGED, b"x")))),
        (OWN, (PAIR, pgoutput.update(1, (b"1", b"7", UNCHANGED), (b"1", b"8", None)))),
        (Broken(Truth(True), (("id", INT),)), (FULL, pgoutput.insert(1, MINE))),
    ],
    ids=[
        "a column that is not in the identity",
        "no old row, of a version that sends it whole",
        "a part of the old row, of a version that sends it whole",
        "a value that is not told, and that finds shapes",
        "a value that is not told",
        "a cell of a row that enters",
        "a value that the condition cannot read",
    ],
)
def test_a_shape_that_would_have_to_guess_is_unfit_and_sees_nothing(
    where: Predicate, row: RowMessage
) -> None:
    later = full(THEIRS, MINE)
    for rows in ((row,), (later, row), (row, later)):
        seen = look(where, *rows)
        assert seen.changes == {}
        assert seen.unfit == {ShapeId("s1")}
    index = ShapeIndex()
    sight = Projection(index).sight([index.acquire(spec(where)).id])
    assert sight.see(row) == 0
    assert sight.see(later) == 0, "it is not followed any further"
    assert sight.take() == {}
    assert sight.unfit == {ShapeId("s1")}


def test_a_hole_that_is_not_shown_is_none() -> None:
    row = PAIR, pgoutput.update(1, (b"1", b"7", UNCHANGED), (b"1", b"8", None))
    assert changes(look(OWN, row, columns=("id",))) == [["i", [1]]]


def test_an_unfit_shape_does_not_take_others_along() -> None:
    index = ShapeIndex()
    lost, sound = index.acquire(spec(OWN)), index.acquire(spec(among("id", "1")))
    whole = index.acquire(spec(None))
    seen = Projection(index).look(transaction((PLAIN, pgoutput.insert(1, MINE))))
    assert seen.unfit == {lost.id}
    assert seen.changes == {id: [b'["i",[1,7,"x"]]'] for id in (sound.id, whole.id)}


# --- what is shared ---


def test_equal_columns_are_rendered_once_whatever_the_conditions() -> None:
    index = ShapeIndex()
    wheres = (OWN, above("tenant", 1), above("tenant", 2), among("id", "1"))
    ids = [index.acquire(spec(where)).id for where in wheres]
    seen = Projection(index).look(transaction(full(THEIRS, MINE), full(MINE, (b"1", b"7", b"y"))))
    first, *others = (seen.changes[id] for id in ids)
    assert first == [b'["i",[1,7,"y"]]']
    assert [json.loads(change) for change in others[0]] == [["u", [1], {"tenant": 7, "note": "y"}]]
    assert others[0] is others[1] is others[2], "whoever saw the same has the same bytes"
    more = full((b"5", b"1", b"x"), (b"5", b"3", b"x"))
    changes = Projection(index).look(transaction(full(MINE, (b"1", b"9", b"x")), more)).changes
    both, one = changes[ids[1]], changes[ids[3]]
    assert len(both) == 2
    assert both[0] is one[0], "whatever else they saw"


def test_what_happened_to_one_row_is_not_taken_for_what_happened_to_another() -> None:
    index = ShapeIndex()
    ids = [index.acquire(spec(among("tenant", str(i)))).id for i in range(20)]
    cells = [(b"%d" % i, b"%d" % i, b"x") for i in range(20)]
    rows = [(FULL, pgoutput.insert(1, row)) for row in cells]
    rows += [full(row, (*row[:2], b"y")) for row in cells]
    found = Projection(index).look(transaction(*rows)).changes
    assert found == {id: [b'["i",[%d,%d,"y"]]' % (i, i)] for i, id in enumerate(ids)}


# --- by chance ---

Rows: TypeAlias = dict[int, tuple[int, str | None]]
WHERES = (
    None,
    OWN,
    among("tenant", "7", "8"),
    above("tenant", 7),
    above("id", 2),
    among("id", "1", "3"),
    among_and_above("tenant", ("7", "8"), "id", 1),
)


class Database:
    """A table that writes what PostgreSQL would write to its log."""

    def __init__(self, relation: Relation, rows: Rows) -> None:
        self.relation = relation
        self.rows = rows
        self.messages: list[RowMessage] = []

    def insert(self, id: int, tenant: int, note: str | None) -> None:
        self.rows[id] = tenant, note
        self._write(pgoutput.insert(1, self._cells(id)))

    def delete(self, id: int) -> None:
        old = self._cells(id)
        del self.rows[id]
        self._write(pgoutput.delete(1, *self._told(old)))

    def truncate(self) -> None:
        self.rows.clear()
        self._write(CLEAR)

    def update(self, id: int, target: int, tenant: int, note: str | None, *, toast: bool) -> None:
        """Change a row; with `toast` its note is long and was not touched."""
        old, known = self._cells(id), self.rows.pop(id)
        # A hole in a row that enters is another matter: with part of the old row it ends the shape.
        toast = toast and (self._is_full or (id, known[0]) == (target, tenant))
        self.rows[target] = tenant, known[1] if toast else note
        new = self._cells(target)
        if toast:
            new = (*new[:2], UNCHANGED)
        if self._is_full or old[:2] != new[:2]:
            cells, kind = self._told(old)
            self._write(pgoutput.update(1, new, cells, kind))
        else:
            self._write(pgoutput.update(1, new))

    @property
    def _is_full(self) -> bool:
        return self.relation.identity is Identity.FULL

    def _cells(self, id: int) -> tuple[Cell, ...]:
        tenant, note = self.rows[id]
        return b"%d" % id, b"%d" % tenant, None if note is None else note.encode()

    def _told(self, old: tuple[Cell, ...]) -> tuple[tuple[Cell, ...], str]:
        return (old, "O") if self._is_full else ((*old[:2], None), "K")

    def _write(self, message: bytes) -> None:
        self.messages.append((self.relation, message))


def satisfies(where: Predicate | None, relation: Relation, rows: Rows) -> dict[int, list[Any]]:
    judge = where.compile(relation) if where else lambda row: True
    return {
        id: [id, tenant, note]
        for id, (tenant, note) in rows.items()
        if judge((b"%d" % id, b"%d" % tenant, None))
    }


def apply(rows: dict[int, list[Any]], frame: list[Any]) -> dict[int, list[Any]]:
    """Do to a client's rows what one frame says, all together."""
    before, rows = rows, {} if ["t"] in frame else dict(rows)
    for kind, key, *_ in (change for change in frame if change[0] in "dk"):
        assert kind == "d" or key[0] in before
        del rows[key[0]]
    for change in frame:
        match change:
            case ["i", [id, *cells]]:
                assert id not in rows
                rows[id] = [id, *cells]
            case ["u", [id], told]:
                assert told
                rows[id] = [told.get(name, rows[id][i]) for i, name in enumerate(NAMES)]
            case ["k", [old], [new], told]:
                assert new not in rows
                rows[new] = [told.get(name, before[old][i]) for i, name in enumerate(NAMES)]
    return rows


ids, tenants = st.integers(1, 4), st.integers(6, 9)
notes = st.sampled_from(["a", "b", None])
steps = st.tuples(st.integers(0, 9), ids, ids, tenants, notes, st.booleans())


@st.composite
def databases(draw: st.DrawFn) -> tuple[Rows, Database]:
    """Draw a table before a transaction, and after it with its messages."""
    rows = draw(st.dictionaries(ids, st.tuples(tenants, notes)))
    database = Database(draw(st.sampled_from([FULL, PAIR])), dict(rows))
    for kind, id, target, tenant, note, toast in draw(st.lists(steps, min_size=1, max_size=10)):
        if kind == 0:
            database.truncate()
        elif id not in database.rows:
            database.insert(id, tenant, note)
        elif kind < 3:
            database.delete(id)
        else:
            target = id if target in database.rows else target
            database.update(id, target, tenant, note, toast=toast)
    return rows, database


@settings(deadline=None, derandomize=True, max_examples=600)
@given(databases())
def test_a_client_that_applies_a_frame_has_what_satisfies_its_condition(
    drawn: tuple[Rows, Database],
) -> None:
    before, database = drawn
    index = ShapeIndex()
    shapes = [(index.acquire(spec(where)).id, where) for where in WHERES]
    seen = Projection(index).look(transaction(*database.messages))
    assert not seen.unfit
    for id, where in shapes:
        frame = [json.loads(change) for change in seen.changes.get(id, [])]
        had = satisfies(where, database.relation, before)
        assert apply(had, frame) == satisfies(where, database.relation, database.rows)
        alone = Projection(index).look(transaction(*database.messages), [id])
        assert alone.changes.get(id) == seen.changes.get(id)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(databases(), st.integers(1, 200))
def test_a_client_that_applies_part_after_part_has_it_too(
    drawn: tuple[Rows, Database], part_bytes: int
) -> None:
    before, database = drawn
    index = ShapeIndex()
    shapes = {index.acquire(spec(where)).id: where for where in WHERES}
    parts = CommitParts(
        transaction(*database.messages),
        frozenset(shapes),
        Projection(index),
        MemorySpool().create(),
        part_bytes_max=part_bytes,
    )
    has = {id: satisfies(where, database.relation, before) for id, where in shapes.items()}
    for frame in frames(parts):
        for part in frame["parts"]:
            has[part["shape"]] = apply(has[part["shape"]], part["changes"])
    assert not parts.unfit
    for id, where in shapes.items():
        assert has[id] == satisfies(where, database.relation, database.rows)


def frames(parts: CommitParts) -> Iterator[Any]:
    while not parts.is_complete:
        parts.step()
    for number in range(len(parts)):
        yield message_of(parts.frame(number))


def test_ten_thousand_values_cost_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    index = ShapeIndex()
    ids = [index.acquire(spec(among("tenant", str(i)))).id for i in range(10_000)]
    projection = Projection(index)
    row = transaction(full(MINE, THEIRS))
    assert projection.look(row).changes.keys() == {ids[7], ids[8]}
    scene = projection._lenses[1][0].scene
    judged = [candidate for candidate in index.tables[1].all.values() if candidate._judged]
    assert [candidate.id for candidate in judged] == [ids[7], ids[8]], "others are not looked at"
    added = index.acquire(spec(among("tenant", "10000")))
    index.release(added)
    projection.look(row)
    assert projection._lenses[1][0].scene is scene, "and nothing is made anew"


def test_messages_of_another_type_of_row_are_unfit_at_once() -> None:
    retyped = msgspec.structs.replace(
        FULL, columns=tuple(msgspec.structs.replace(c, type_oid=25) for c in FULL.columns)
    )
    seen = look(OWN, (retyped, pgoutput.insert(1, THEIRS)))
    assert seen.unfit == {ShapeId("s1")}
