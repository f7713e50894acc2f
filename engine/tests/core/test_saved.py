"""Goal: batch after batch leads from one state of live rows and cursor to the next, and only there.

Method: `Paper` does what a file does, with dicts. Rules by hand, and the seeded walk of the store's
model, with batches taken and the process lost at random. A failure prints its replay line.
"""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from engine.tests.core.paper import Paper
from engine.tests.core.store_events import (
    LSN,
    TRUNCATE,
    chunk,
    commit,
    delete,
    insert,
    join,
    rekey,
    update,
)
from engine.tests.core.test_store_model import Walk
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol.events import Progressed, RowChange, WasReset
from tidewire.core.protocol.frames import ShapeRequest
from tidewire.core.saved import Entry, Numbers, Saved, Unsaved
from tidewire.core.store import Name, Row, Store
from tidewire.core.stream.cursor import Cursor

CURSOR = Cursor("e1", Lsn(9), "tag")


def request(id: str) -> ShapeRequest:
    return ShapeRequest(id=id, table=id)


def shown(paper: Paper) -> dict[str, list[object]]:
    return {id: [row["body"] for _, row in sorted(rows.items())] for id, rows in paper.rows.items()}


class Desk:
    """A store of tables `a` and `b`, and the paper that its rows go to."""

    def __init__(self) -> None:
        self.store, self.unsaved, self.paper = Store(), Unsaved(), Paper()
        self.tables = {}
        for id in "ab":
            self.tables[id] = self.store.add(id)
            self.unsaved.add(request(id), self.tables[id])
        join(self.store, "a", "b")
        self.unsaved.cursor = CURSOR

    def copy(self, *bodies: str, ids: tuple[str, ...] = ("a",)) -> None:
        self.store.apply(chunk(*enumerate(bodies, 1), ids=ids))

    def show(self, *ids: str) -> None:
        self.store.apply(Progressed(LSN, ids))

    def save(self) -> list[str]:
        return self.paper.write(self.unsaved.take())


def following(*bodies: str) -> Desk:
    """Make a desk with a live and saved table `a` whose rows are numbered from 1."""
    desk = Desk()
    desk.copy(*bodies)
    desk.show("a")
    assert desk.save() == ["a"]
    return desk


# --- what is written ---


def test_a_copy_is_written_when_it_is_shown_and_not_before() -> None:
    desk = Desk()
    assert desk.save() == []
    assert desk.paper.cursor == CURSOR, "a position without rows is one, too"
    desk.copy("x", "y", ids=("a", "b"))
    desk.store.apply(commit(delete(1), stage=True))
    assert desk.unsaved.take() is None
    desk.show("a")
    assert desk.unsaved.count_rows() == 1
    assert desk.save() == ["a"]
    assert shown(desk.paper) == {"a": ["y"]}
    columns = (("id", "int4"), ("body", "text"))
    assert desk.paper.entries == {"a": Entry(request("a"), "public.a", columns, ("id",))}


def test_a_row_that_changes_often_is_written_once() -> None:
    desk = following("x", "y", "z")
    for number in range(9):
        desk.store.apply(commit(update(1, body=f"{number}")))
    desk.store.apply(commit(delete(2)))
    assert desk.unsaved.count_rows() == 2
    batch = desk.unsaved.take()
    assert batch is not None
    (change,) = batch.changes
    assert change.entry is None
    assert change.layer is not None
    assert (list(change.layer.rows), change.layer.taken) == ([1], {2})
    desk.paper.write(batch)
    assert shown(desk.paper) == {"a": ["8", "z"]}
    assert desk.unsaved.count_rows() == 0


def test_what_happens_while_a_batch_is_written_is_in_the_next() -> None:
    desk = following("x")
    desk.store.apply(commit(insert(2, "y")))
    batch = desk.unsaved.take()
    desk.store.apply(commit(update(2, body="later"), delete(1)))
    desk.paper.write(batch)
    assert shown(desk.paper) == {"a": ["x", "y"]}
    desk.save()
    assert shown(desk.paper) == {"a": ["later"]}


def test_a_position_that_moves_alone_is_written() -> None:
    desk = following("x")
    assert desk.unsaved.take() is None
    desk.unsaved.cursor = Cursor("e1", Lsn(10), "tag")
    assert desk.save() == []
    assert desk.paper.cursor == desk.unsaved.cursor
    assert desk.unsaved.take() is None


@pytest.mark.parametrize(
    ("changes", "bodies"),
    [
        ([rekey(1, 2), rekey(2, 1)], ["x", "y"]),
        ([delete(1), insert(3)], ["y", "new"]),
        ([TRUNCATE], []),
        ([TRUNCATE, insert(2)], ["new"]),
    ],
)
def test_rows_are_written_in_the_order_in_which_they_are_shown(
    changes: list[RowChange], bodies: list[str]
) -> None:
    desk = following("x", "y")
    desk.store.apply(commit(*changes))
    desk.save()
    assert shown(desk.paper) == {"a": bodies}
    assert [row["body"] for row in desk.tables["a"].rows.values()] == bodies


def test_a_row_that_leaves_and_comes_back_comes_last() -> None:
    desk = following("x", "y")
    desk.store.apply(commit(delete(1)))
    desk.store.apply(commit(insert(1, "again")))
    desk.save()
    assert shown(desk.paper) == {"a": ["y", "again"]}


def test_equal_keys_that_are_written_differently_are_one_row() -> None:
    numbers = Numbers()
    layer = Desk().tables["a"].layer
    layer.put(Decimal("1.50"), {"n": 1})
    assert list(numbers.put(layer)) == [(1, {"n": 1})]
    layer.take(Decimal("1.5"))
    assert numbers.take(layer) == [1]


def test_what_its_table_was_is_written_with_the_rows() -> None:
    desk = Desk()
    join(desk.store, "a", fingerprint="f1")
    desk.copy("x")
    desk.show("a")
    desk.save()
    # It is as old as the rows that it was told with: they were not copied again since.
    join(desk.store, "a", mode="catchup", fingerprint="f2")
    desk.store.apply(commit(insert(2)))
    desk.save()
    assert desk.paper.entries["a"].continued() == ShapeRequest(id="a", table="a", fingerprint="f1")


# --- what is forgotten ---


def test_rows_that_stand_still_are_no_state_and_are_forgotten() -> None:
    desk = following("x")
    desk.store.apply(commit(insert(2)))
    desk.store.apply(WasReset(("a",), "lagged"))
    desk.copy("new")
    assert desk.save() == ["a"]
    assert shown(desk.paper) == {}
    assert desk.save() == []
    desk.show("a")
    assert desk.save() == ["a"]
    assert shown(desk.paper) == {"a": ["new"]}


def test_a_reset_between_two_batches_leaves_the_new_rows_only() -> None:
    desk = following("x", "y")
    desk.store.apply(commit(insert(3)))
    desk.store.apply(WasReset(("a",), "lagged"))
    join(desk.store, "a", columns=(("id", "int4"), ("body", "varchar")))
    desk.copy("new")
    desk.show("a")
    assert desk.save() == ["a"]
    assert shown(desk.paper) == {"a": ["new"]}
    assert desk.paper.entries["a"].columns[1] == ("body", "varchar")


def test_what_is_given_up_is_forgotten_once() -> None:
    desk = following("x")
    desk.unsaved.remove("a")
    desk.unsaved.remove("b")
    assert desk.save() == ["a"]
    assert shown(desk.paper) == {}
    assert desk.save() == []


# --- going on ---


def test_another_process_goes_on_with_what_was_written() -> None:
    before = following("x", "y")
    before.store.apply(commit(delete(1), insert(1, "last")))
    before.save()
    saved = before.paper.read()
    assert saved is not None
    after = Desk()
    after.store, after.unsaved, after.paper = Store(), Unsaved(), before.paper
    after.unsaved.restore(saved)
    ((entry, table),) = saved.tables
    after.store.restore(entry.request.id, table)
    assert [row["body"] for row in table.rows.values()] == ["y", "last"]
    assert after.unsaved.take() is None
    join(after.store, "a", mode="catchup")
    after.store.apply(commit(update(2, body="Y"), insert(3, "new")))
    assert after.save() == ["a"]
    assert shown(after.paper) == {"a": ["Y", "last", "new"]}
    after.store.apply(WasReset(("a",), "lagged"))
    assert after.save() == ["a"]
    assert shown(after.paper) == {}


class SavedWalk(Walk):
    """The walk of the store's model, written down now and then, and begun again from there."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.unsaved, self.paper = Unsaved(), Paper()
        self.moves = 0
        self.unsaved.cursor = CURSOR
        for id, table in self.tables.items():
            self.unsaved.add(request(id), table)

    def walk(self, steps: int) -> None:
        for _ in range(steps):
            self.run(self.random.randint(1, 3))
            self.moves += 1
            self.unsaved.cursor = Cursor("e1", Lsn(9 + self.moves), "tag")
            if self.random.random() < 0.5:
                self.paper.write(self.unsaved.take())
                assert self.paper.cursor == self.unsaved.cursor
                assert self.on_paper() == self.live()

    def on_paper(self) -> dict[str, list[tuple[Name, Row]]]:
        saved = self.paper.read() or Saved(CURSOR, [])
        return {entry.request.id: list(table.rows.items()) for entry, table in saved.tables}

    def live(self) -> dict[str, list[tuple[Name, Row]]]:
        return {id: list(table.rows.items()) for id, table in self.tables.items() if table.is_live}


@pytest.mark.parametrize("seed", random.Random(8).sample(range(10**6), 40))
def test_what_is_written_is_what_is_live_rows_order_and_all(seed: int) -> None:
    walk = SavedWalk(seed)
    try:
        walk.walk(60)
    except BaseException:
        print(f"replay: SavedWalk({seed}).walk(60)")
        raise
