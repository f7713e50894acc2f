"""Random transactions as lists of statements.

The one rule: every statement finds rows to work on, whatever others have done in the meantime: it
takes the next row at or after a random key. So a seed keeps its character when the timing differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from psycopg import sql

from tidelab.workload.tables import KINDS, Kind

Statement = tuple[sql.Composed, tuple[object, ...]]

# Keys of `notes` are what its conditions look at, and its large values stay where they are.
_OFTEN = (*KINDS, KINDS[0])
LARGE_ROWS = 1200  # about 400 kB: more than one part of a commit


@dataclass(frozen=True, slots=True)
class Transaction:
    """Statements to run in order, and whether they are committed."""

    statements: tuple[Statement, ...]
    is_committed: bool
    detail: str


class Transactions:
    """Draw transactions of one writer; numbers that only grow make new keys."""

    def __init__(self, random: Random, writer: int) -> None:
        self._random = random
        self._next = 1_000_000 * (writer + 1)

    def draw(self) -> Transaction:
        """Draw a transaction: one to six steps, sometimes with a savepoint, rarely large."""
        random = self._random
        chance = random.random()
        if chance < 0.006:
            return self._large()
        if chance < 0.012:
            return self._truncate()
        statements: list[Statement] = []
        for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
            step = self._step(random.choice(_OFTEN))
            if random.random() < 0.12:
                ending = "ROLLBACK TO s" if random.random() < 0.5 else "RELEASE s"
                step = [_plain("SAVEPOINT s"), *step, _plain(ending)]
            statements += step
        if random.random() < 0.15:
            # Acknowledged before it is flushed: a crash takes it back, and nobody may have seen it.
            statements.insert(0, _plain("SET LOCAL synchronous_commit = off"))
        if random.random() < 0.05:
            # Open for a while: snapshots begin and end beside it, and the order of commits differs.
            statements.append(_plain(f"SELECT pg_sleep({random.choice((0.1, 0.4, 0.9))})"))
        return Transaction(
            tuple(statements), random.random() >= 0.05, f"{len(statements)} statements"
        )

    def _step(self, kind: Kind) -> list[Statement]:
        random = self._random
        chance = random.random()
        if chance < 0.25:
            return [self._insert(kind)]
        if chance < 0.60:
            return [self._update(kind)]
        if chance < 0.70:
            return [self._delete(kind)]
        if chance < 0.90:
            return [self._new_key(kind)]
        if chance < 0.94:
            return self._swap(kind)
        if chance < 0.97:
            return [self._delete(kind), self._insert(kind)]
        return [self._many(kind)]

    def _insert(self, kind: Kind) -> Statement:
        names = [*kind.key, *kind.values]
        values = [make(self._random) for make in (*kind.key.values(), *kind.values.values())]
        keep = next(iter(kind.values))
        query = sql.SQL(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {} = EXCLUDED.{}"
        ).format(
            sql.Identifier(kind.name),
            _names(names),
            sql.SQL(", ").join([sql.Placeholder() for _ in names]),
            _names(kind.key),
            sql.Identifier(keep),
            sql.Identifier(keep),
        )
        return query, tuple(values)

    def _update(self, kind: Kind) -> Statement:
        chosen = self._random.sample(list(kind.values), self._random.randint(1, 2))
        query = sql.SQL("UPDATE {} SET {} WHERE {}").format(
            sql.Identifier(kind.name), _assignments(chosen), _next_row(kind)
        )
        return query, (*(kind.values[name](self._random) for name in chosen), *self._key(kind))

    def _delete(self, kind: Kind) -> Statement:
        query = sql.SQL("DELETE FROM {} WHERE {}").format(
            sql.Identifier(kind.name), _next_row(kind)
        )
        return query, self._key(kind)

    def _new_key(self, kind: Kind) -> Statement:
        """Give a row another key: half of them near the others, half one that was never used."""
        name = self._random.choice(list(kind.key))
        query = sql.SQL("UPDATE {} SET {} WHERE {}").format(
            sql.Identifier(kind.name), _assignments([name]), _next_row(kind)
        )
        self._next += 1
        is_number = name in ("id", "order_id") and kind.name != "events"
        fresh = is_number and self._random.random() < 0.3
        value = self._next if fresh else kind.key[name](self._random)
        return query, (value, *self._key(kind))

    def _swap(self, kind: Kind) -> list[Statement]:
        """Let two rows of `notes` change places, by way of a third key; elsewhere just update."""
        if kind.name != "notes":
            return [self._update(kind)]
        one = self._random.randrange(1, 790)
        move = sql.SQL("UPDATE notes SET id = {} WHERE id = {}")
        free = -self._random.randrange(1, 10**9)
        pairs = ((free, one), (one, one + 1), (one + 1, free))
        return [(move.format(sql.Literal(new), sql.Literal(old)), ()) for new, old in pairs]

    def _many(self, kind: Kind) -> Statement:
        """Update some tens of rows in one statement."""
        name = self._random.choice(list(kind.values))
        first = next(iter(kind.key))
        query = sql.SQL("UPDATE {} SET {} WHERE hashtext({}::text) % 17 = {}").format(
            sql.Identifier(kind.name),
            _assignments([name]),
            sql.Identifier(first),
            sql.Literal(self._random.randrange(17)),
        )
        return query, (kind.values[name](self._random),)

    def _large(self) -> Transaction:
        """Insert more than one part of a commit holds, and touch some of it again."""
        begin = self._next
        self._next += LARGE_ROWS
        rows = sql.SQL(
            "INSERT INTO items SELECT n, 0, 'red', n, NULL, repeat('x', 300)"
            " FROM generate_series({}, {}) n"
        ).format(sql.Literal(begin), sql.Literal(begin + LARGE_ROWS - 1))
        again = sql.SQL(
            "UPDATE items SET tenant = 'blue', order_id = order_id + 1000000000"
            " WHERE order_id >= {} AND order_id % 50 = 0"
        ).format(sql.Literal(begin))
        clear = sql.SQL("DELETE FROM items WHERE order_id < {} AND order_id >= 1000000").format(
            sql.Literal(begin)
        )
        return Transaction(((clear, ()), (rows, ()), (again, ())), True, "large")

    def _truncate(self) -> Transaction:
        names = self._random.sample([kind.name for kind in KINDS], self._random.choice((1, 1, 2)))
        query = sql.SQL("TRUNCATE {}").format(_names(names))
        after = [self._insert(self._random.choice(KINDS)) for _ in range(3)]
        return Transaction(((query, ()), *after), self._random.random() < 0.8, "truncate")

    def _key(self, kind: Kind) -> tuple[object, ...]:
        return tuple(make(self._random) for make in kind.key.values())


def _plain(text: str) -> Statement:
    # Constants of this file: nothing that comes from outside gets here.
    return sql.Composed([sql.SQL(text)]), ()


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join([sql.Identifier(name) for name in names])


def _assignments(names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join([sql.SQL("{} = %s").format(sql.Identifier(name)) for name in names])


def _next_row(kind: Kind) -> sql.Composed:
    """Write the condition for the next row at or after a key."""
    places = sql.SQL(", ").join([sql.Placeholder() for _ in kind.key])
    return sql.SQL(
        "({key}) = (SELECT {key} FROM {table} WHERE ({key}) >= ({places}) ORDER BY {key} LIMIT 1)"
    ).format(key=_names(kind.key), table=sql.Identifier(kind.name), places=places)
