"""Seeded transactions and shapes for the model database.

The one rule: everything comes from the one `Random` that is passed in, so that a seed is a run.
"""

from __future__ import annotations

from random import Random

from tidelab.core.history.shape import (
    And,
    Between,
    Equal,
    Everything,
    Filter,
    IsNull,
    Not,
    OneOf,
    Or,
    Shape,
)
from tidelab.core.history.truth import Deleted, Inserted, Row, TableChange, Truncated, Updated
from tidelab.selftest.database import TABLES, Rows, State, key_of

TENANTS = ("red", "green", "blue", None)
NOTES = ("", "a", "it's", "long " * 20, "\u2603", None)
ROWS_AT_FIRST = 20


class Workload:
    """Make transactions that fit the state of the database."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._ids = 0

    def first_state(self) -> State:
        """Return the rows that are there when the run begins."""
        state: State = {}
        for name in TABLES:
            rows = [self._row(name) for _ in range(ROWS_AT_FIRST)]
            state[name] = {key_of(name, row): row for row in rows}
        return state

    def transaction(self, state: State) -> list[TableChange]:
        """Return the changes of one transaction, one to six of them."""
        now = {name: dict(rows) for name, rows in state.items()}
        changes: list[TableChange] = []
        for _ in range(self._random.choice((1, 1, 2, 3, 4, 6))):
            name = self._random.choice(list(TABLES))
            if self._random.random() < 0.01:
                changes.append(Truncated((name,)))
                now[name].clear()
            else:
                changes += self._row_changes(name, now[name])
        return changes

    def shape(self) -> Shape:
        """Return a shape: any table, some of its columns, a condition."""
        table = self._random.choice(list(TABLES.values()))
        names = [column.name for column in table.columns]
        if self._random.random() < 0.3:
            names = [name for name in names if name in table.key or self._random.random() < 0.7]
        return Shape(table.name, tuple(names), self._filter(2))

    def _filter(self, depth: int) -> Filter:
        random = self._random
        kind = random.randrange(9 if depth else 6)
        tenants = [tenant for tenant in TENANTS if tenant is not None]
        match kind:
            case 0:
                return Everything()
            case 1 | 2:
                return Equal("tenant", random.choice(tenants))
            case 3:
                return OneOf("tenant", tuple(random.sample(tenants, 2)))
            case 4:
                low = random.randrange(6)
                return Between("quantity", str(low), str(low + 4))
            case 5:
                return random.choice((IsNull("note"), IsNull("quantity")))
            case 6:
                return Not(self._filter(depth - 1))
            case 7:
                return And((self._filter(depth - 1), self._filter(depth - 1)))
            case _:
                return Or((self._filter(depth - 1), self._filter(depth - 1)))

    def _row(self, table: str) -> Row:
        self._ids += 1
        return tuple(
            str(self._ids) if column.name == "id" else self._value(table, column.name)
            for column in TABLES[table].columns
        )

    def _value(self, table: str, column: str) -> str | None:
        random = self._random
        match column:
            case "tenant":
                return random.choice(TENANTS[: 3 if "tenant" in TABLES[table].key else 4])
            case "quantity":
                return random.choice((None, *map(str, range(10))))
            case "is_paid":
                return random.choice(("t", "f"))
            case _:
                return random.choice(NOTES)

    def _row_changes(self, table: str, rows: Rows) -> list[TableChange]:
        """Insert, update, delete, give a new key, or delete and insert again."""
        if not rows or self._random.random() < 0.3:
            row = self._row(table)
            rows[key_of(table, row)] = row
            return [Inserted(table, row)]
        key, old = self._random.choice(list(rows.items()))
        chance = self._random.random()
        del rows[key]
        if chance < 0.15:
            return [Deleted(table, key)]
        row = self._changed(table, old, new_key=chance < 0.25)
        if key_of(table, row) in rows:
            row = old
        rows[key_of(table, row)] = row
        if chance > 0.95:
            return [Deleted(table, key), Inserted(table, row)]
        return [Updated(table, key, row)]

    def _changed(self, table: str, old: Row, *, new_key: bool) -> Row:
        """Change one or two columns; the key only when it is asked for."""
        row = list(old)
        columns = TABLES[table].columns
        free = [i for i, column in enumerate(columns) if column.name not in TABLES[table].key]
        for index in self._random.sample(free, 2):
            row[index] = self._value(table, columns[index].name)
        if new_key:
            self._ids += 1
            row[TABLES[table].index_of("id")] = str(self._ids)
        return tuple(row)
