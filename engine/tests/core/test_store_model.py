"""Goal: whatever happens to copies, commits and connections, a store shows what the database had.

Method: a seeded walk over two tables, beside a model that copies all its rows for each step. What
does not fit must change nothing, anywhere. A failure prints its replay line.
"""

from __future__ import annotations

import copy
import random

import pytest

from engine.tests.core.store_events import (
    LSN,
    TRUNCATE,
    chunk,
    delete,
    insert,
    join,
    rekey,
    shown,
    update,
)
from tidewire.core.protocol.events import Committed, Progressed, RowChange, WasReset
from tidewire.core.store import Store
from tidewire.errors import Diverged


class Model:
    """What one table must be: rows as plain dicts that are copied for each step."""

    def __init__(self) -> None:
        self.visible: dict[int, str] = {}
        self.copied: dict[int, str] | None = None
        self.truth: dict[int, str] = {}
        """The database: visible rows are this once the table is live."""
        self.is_live = False


class Walk:
    """Seeded copies, commits, disconnects and resets over two tables."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.store = Store()
        self.tables = {id: self.store.add(id) for id in "ab"}
        self.models = {id: Model() for id in "ab"}
        join(self.store, "a", "b")

    def run(self, steps: int) -> None:
        actions = [self.copy, self.commit, self.commit, self.show, self.reset, self.come_back]
        for _ in range(steps):
            self.random.choice([*actions, self.commit_impossible])()
            for id, model in self.models.items():
                expected = model.truth if model.is_live else model.visible
                assert shown(self.tables[id]) == expected
                assert self.tables[id].is_live == model.is_live

    def some(self) -> tuple[str, Model]:
        id = self.random.choice("ab")
        return id, self.models[id]

    def copy(self) -> None:
        id, model = self.some()
        if model.is_live:
            return
        rows = list(model.truth.items())
        cut = self.random.randint(0, len(rows))
        self.store.apply(chunk(*rows[:cut], ids=(id,)))
        self.store.apply(chunk(*rows[cut:], ids=(id,), number=1))
        model.copied = dict(model.truth)

    def change(self, truth: dict[int, str]) -> list[RowChange]:
        """Change the truth by a net effect: a permutation of some rows, arrivals, departures."""
        draw, before = self.random, dict(truth)
        chosen = draw.sample(sorted(before), draw.randint(0, min(4, len(before))))
        changes: list[RowChange] = []
        if draw.random() < 0.1:
            truth.clear()
            changes, chosen = [TRUNCATE], []
        kinds = {id: draw.choice(["update", "delete", "rekey"]) for id in chosen}
        moving = [id for id, kind in kinds.items() if kind == "rekey"]
        free = [id for id in range(12) if id not in truth]
        targets = draw.sample([*moving, *free], len(moving))
        for id, kind in kinds.items():
            if kind != "update":
                del truth[id]
            if kind == "delete":
                changes.append(delete(id))
        for id, target in zip(moving, targets, strict=True):
            if id == target:
                truth[id] = "again"
                changes.append(update(id, id=id, body="again"))
            else:
                truth[target] = before[id]
                changes.append(rekey(id, target))
        for id in (id for id, kind in kinds.items() if kind == "update"):
            truth[id] = f"u{draw.randint(0, 99)}"
            changes.append(update(id, body=truth[id]))
        for id in [id for id in range(12) if id not in truth and draw.random() < 0.2]:
            truth[id] = f"i{draw.randint(0, 99)}"
            changes.append(insert(id, truth[id]))
        draw.shuffle(changes)
        return changes

    def commit(self) -> None:
        steps: list[dict[str, list[RowChange]]] = []
        for _ in range(self.random.choice([1, 1, 2])):
            made = {id: self.change(model.truth) for id, model in self.models.items()}
            steps.append(made)
        for is_staged in (False, True):
            concerned = [
                {
                    id: changes
                    for id, changes in step.items()
                    if self.models[id].is_live != is_staged
                    and (self.models[id].is_live or self.models[id].copied is not None)
                }
                for step in steps
            ]
            self.store.apply(Committed(LSN, 1, 2, tuple(concerned), is_staged))

    def commit_impossible(self) -> None:
        id, model = self.some()
        if model.is_live:
            before = {each: copy.deepcopy(self.tables[each].rows) for each in "ab"}
            truths = {each: dict(self.models[each].truth) for each in "ab"}
            step = {each: self.change(truths[each]) for each in "ab" if self.models[each].is_live}
            impossible = [delete(99), update(99, body="x"), rekey(99, 98)]
            step[id].insert(self.random.randint(0, len(step[id])), self.random.choice(impossible))
            with pytest.raises(Diverged):
                self.store.apply(Committed(LSN, 1, 2, (step,)))
            assert {each: self.tables[each].rows for each in "ab"} == before

    def show(self) -> None:
        ready = tuple(
            id
            for id, model in self.models.items()
            if not model.is_live and model.copied is not None
        )
        self.store.apply(Progressed(LSN, ready))
        for id in ready:
            self.models[id].is_live, self.models[id].copied = True, None

    def reset(self) -> None:
        id, model = self.some()
        if self.random.random() < 0.5:
            self.store.apply(WasReset((id,), "lagged"))
            model.visible = dict(model.truth) if model.is_live else model.visible
            model.is_live = False

    def come_back(self) -> None:
        for id, model in self.models.items():
            join(self.store, id, mode="catchup" if model.is_live else "initial")
            # The commits are sent again; here a new copy stands for them.
            model.copied = None


@pytest.mark.parametrize("seed", range(150))
def test_a_walk_shows_what_the_model_has(seed: int) -> None:
    try:
        Walk(seed).run(60)
    except BaseException as error:
        error.add_note(
            "replay: PYTHONPATH=.:engine python -c "
            f"'from engine.tests.core.test_store_model import Walk; Walk({seed}).run(60)'"
        )
        raise
