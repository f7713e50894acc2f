"""Goal: one step does what several did. Method: random parts, applied one by one and as their net.

The model is a dictionary of rows; the history's own rules for changes are applied to it.
"""

from __future__ import annotations

from random import Random

from lab.tests.driver.test_tidewire_vectors import Rows, apply
from tidelab.core.history.event import Clear, Patch, Put, Rekey, Remove, RowChange, Values
from tidelab.driver.netting import Net, by_key

KEY = ("id",)
WHOLE = frozenset(("id", "body"))


def row(id: int | str, body: str = "") -> Values:
    return {"id": str(id), "body": body}


def net_of(*steps: tuple[RowChange, ...]) -> tuple[RowChange, ...]:
    net = Net(KEY)
    for step in steps:
        net.apply(step)
    return net.changes()


def random_step(random: Random, rows: Rows, fresh: int) -> tuple[RowChange, ...]:
    """Make changes that fit the rows, at most one for each, and apply them."""
    changes: list[RowChange] = []
    if random.random() < 0.1:
        changes.append(Clear())
        rows.clear()
    free = [(str(fresh + n),) for n in range(3)]
    for key in random.sample(sorted(rows), min(len(rows), random.randrange(4))):
        kind = random.randrange(3)
        if kind == 0:
            changes.append(Remove(key))
            free.append(key)  # type: ignore[arg-type]
        elif kind == 1:
            changes.append(Patch(key, {"body": f"p{random.random()}"}))
        elif free:
            new = free.pop(random.randrange(len(free)))
            changes.append(Rekey(key, new, {"body": "moved"} if random.random() < 0.5 else {}))
    free = [key for key in free if key not in rows or Remove(key) in changes]
    if free:
        changes.append(Put(row(random.choice(free)[0], "new")))
    apply(rows, tuple(changes))
    return tuple(changes)


def test_the_net_leaves_the_same_rows() -> None:
    for seed in range(600):
        random = Random(seed)
        before: Rows = {(str(n),): row(n, "old") for n in range(6)}
        rows = {key: dict(values) for key, values in before.items()}
        steps = [random_step(random, rows, 100 + 10 * n) for n in range(random.randint(2, 4))]
        apply(before, net_of(*steps))
        assert before == rows, f"seed {seed}: {steps}"


def test_a_row_that_came_and_went_is_nothing() -> None:
    assert net_of((Put(row(1)),), (Remove(("1",)),)) == ()


def test_a_row_that_moved_and_went_is_gone_from_where_it_was() -> None:
    assert net_of((Rekey(("1",), ("2",), {}),), (Remove(("2",)),)) == (Remove(("1",)),)


def test_a_row_that_goes_and_a_new_one_are_one_row_with_another_key() -> None:
    swapped = (Remove(("1",)), Rekey(("2",), ("1",), row(1)), Put(row(2, "one")))
    wanted = (Rekey(("2",), ("1",), row(1)), Rekey(("1",), ("2",), row(2, "one")))
    assert by_key(swapped, KEY, WHOLE) == wanted


def test_a_row_that_goes_and_comes_back_has_new_values() -> None:
    assert by_key((Remove(("1",)), Put(row(1, "b"))), KEY, WHOLE) == (Patch(("1",), row(1, "b")),)


def test_a_whole_row_under_the_key_of_one_that_goes_is_new_values_for_it() -> None:
    told = (Remove(("1",)), Rekey(("2",), ("1",), row(1)))
    assert by_key(told, KEY, WHOLE) == (Patch(("1",), row(1)), Remove(("2",)))


def test_half_a_row_under_the_key_of_one_that_goes_stays_as_it_was_told() -> None:
    told = (Remove(("1",)), Rekey(("2",), ("1",), {"id": "1"}))
    assert by_key(told, KEY, WHOLE) == told
