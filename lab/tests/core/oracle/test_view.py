"""Goal: a view is its table seen through a shape, at every position. Method: naive recomputation.

Random commits are applied; at every position the view must show what filtering all rows shows.
"""

from __future__ import annotations

from random import Random

import pytest

from lab.tests.core.scene import BEGIN, NOTES, RED, inserted
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import Deleted, TableRows, Updated
from tidelab.core.oracle.digest import digest_of
from tidelab.core.oracle.filter import compile_shape
from tidelab.core.oracle.state import TableState
from tidelab.core.oracle.view import View
from tidelab.errors import OracleError
from tidelab.selftest.database import TABLES
from tidelab.selftest.workload import Workload

ONE, TWO = ("1", "red", "5"), ("2", "blue", None)


def view(shape: Shape = RED) -> tuple[TableState, View]:
    state = TableState(TableRows(NOTES, (ONE, TWO)))
    return state, View(shape, state, BEGIN)


def test_rows_move_in_and_out() -> None:
    state, red = view()
    state.apply(Lsn(110), [Updated("notes", ("2",), ("2", "red", None))])
    state.apply(Lsn(120), [Updated("notes", ("1",), ("1", "blue", "5"))])
    assert red.rows_at(BEGIN) == {("1",): ONE}
    assert red.rows_at(Lsn(115)) == {("1",): ONE, ("2",): ("2", "red", None)}
    assert red.rows_at(Lsn(120)) == {("2",): ("2", "red", None)}
    assert red.effects_at(Lsn(120)) == {("1",): (ONE, None)}
    assert red.versions_of(("1",)) == [(100, ONE), (120, None)]
    assert red.row_at(("1",), Lsn(119)) == ONE
    assert red.row_at(("1",), Lsn(120)) is None
    assert red.row_at(("7",), Lsn(120)) is None


def test_commits_that_change_nothing_here_are_not_listed() -> None:
    state, red = view()
    state.apply(Lsn(110), [inserted("3", "red", "1")])
    state.apply(Lsn(120), [Deleted("notes", ("2",))])
    assert red.commits_between(Lsn(0), Lsn(999)) == [110]
    assert red.commits_between(Lsn(110), Lsn(999)) == []
    assert not red.effects_at(Lsn(120))
    assert red.versions_of(("7",)) == []


def test_a_key_is_found_in_a_projected_row() -> None:
    _, turned = view(Shape("notes", ("size", "id")))
    assert turned.key_of(("5", "1")) == ("1",)


def test_before_the_beginning_nobody_knows() -> None:
    with pytest.raises(OracleError, match="0/63 lies before 0/64"):
        view()[1].digest_at(Lsn(99))


@pytest.mark.parametrize("seed", range(30))
def test_at_every_position_it_is_what_filtering_shows(seed: int) -> None:
    workload = Workload(Random(seed))
    rows = workload.first_state()
    states = {n: TableState(TableRows(t, tuple(rows[n].values()))) for n, t in TABLES.items()}
    shape = workload.shape()
    state = states[shape.table]
    early = View(shape, state, BEGIN)
    seen = compile_shape(shape, state.table)
    shown = [early.rows_at(BEGIN)]
    for step in range(1, 30):
        changes = workload.transaction({name: each.rows for name, each in states.items()})
        for name, each in states.items():
            own = [c for c in changes if name in getattr(c, "tables", (getattr(c, "table", ""),))]
            each.apply(Lsn(BEGIN + step), own)
        shown.append({k: s for k, row in state.rows.items() if (s := seen(row)) is not None})
    late = View(shape, state, BEGIN)
    for step, expected in enumerate(shown):
        for each_view in (early, late):
            assert each_view.rows_at(Lsn(BEGIN + step)) == expected
            assert each_view.digest_at(Lsn(BEGIN + step)) == digest_of(expected.values())
