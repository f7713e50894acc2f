"""Goal: the reference server is what it says, so that its bugs are the only ones.

Method: its own reading of filters beside the oracle's, on random rows; its model of commits beside
the oracle's state.
"""

from __future__ import annotations

from random import Random

import pytest

from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.core.oracle.filter import compile_shape
from tidelab.core.oracle.oracle import Oracle
from tidelab.selftest.bugs import Bug, Faults
from tidelab.selftest.database import TABLES, Database
from tidelab.selftest.projection import Projection
from tidelab.selftest.workload import Workload

NO_BUGS = Faults(frozenset(), Random(0))


@pytest.mark.parametrize("seed", range(40))
def test_two_readings_of_a_filter_agree(seed: int) -> None:
    workload = Workload(Random(seed))
    rows = workload.first_state()
    for _ in range(20):
        shape = workload.shape()
        projection, seen = Projection(shape, NO_BUGS), compile_shape(shape, TABLES[shape.table])
        for row in rows[shape.table].values():
            assert projection.shows(row) == (seen(row) is not None), (shape, row)


@pytest.mark.parametrize("seed", range(10))
def test_two_models_of_commits_agree(seed: int) -> None:
    workload = Workload(Random(seed))
    database = Database(Lsn(100), workload.first_state())
    oracle = Oracle(database.baseline)
    for step in range(1, 60):
        truth = database.commit(Lsn(100 + step), workload.transaction(database.now))
        oracle.receive(truth)
    for name, table in TABLES.items():
        view = oracle.view(Shape(name, tuple(column.name for column in table.columns)))
        for index, state in enumerate(database.states):
            assert view.rows_at(Lsn(100 + index)) == state[name]


def test_a_snapshot_may_miss_what_has_been_streamed() -> None:
    workload = Workload(Random(1))
    database = Database(Lsn(100), workload.first_state())
    assert database.snapshot("orders", unseen=True).unseen is None
    database.commit(Lsn(110), workload.transaction(database.now))
    early, late = (
        database.snapshot("orders", unseen=True),
        database.snapshot("orders", unseen=False),
    )
    assert (early.index, early.unseen, early.rows) == (1, 0, database.states[0]["orders"])
    assert (late.index, late.unseen, late.rows) == (1, None, database.states[1]["orders"])


def test_bugs_that_are_off_throw_no_dice() -> None:
    random = Random(1)
    faults = Faults(frozenset({Bug.LEAKS_ROW}), random)
    before = random.getstate()
    assert not faults.strikes(Bug.DROPS_COMMIT, 1.0)
    assert random.getstate() == before
    assert faults.strikes(Bug.LEAKS_ROW, 1.0)
