"""What the application does to its tables: random statements within the locks of the model."""

from __future__ import annotations

from random import Random

from engine.tests.simulation.postgres import Postgres, Work
from engine.tests.simulation.tables import TABLES, Key, Row, Text

_BIG: list[Text] = [None, b"b", b"B" * 20, b"C" * 40, b"D" * 90]
_GROUPS: list[Text] = [b"red", b"red", b"blue", b"green", None]
_BODIES: list[Text] = [b"x", b"y", b"z", None]
_TEMPORARY = 1000
_OPEN_MAX = 4


class Application:
    """Transactions that read and write a few rows, often the same."""

    def __init__(self, postgres: Postgres, random: Random, stalled: float) -> None:
        self._postgres = postgres
        self._stalled = stalled
        """How many of the commits wait for a standby."""
        self._random = random
        self._statements = [
            (self._insert, 30),
            (self._update, 36),
            (self._delete, 12),
            (self._rekey, 8),
            (self._swap, 6),
            (self._replace, 5),
            (self._update_all, 5),
            (self._truncate, 2),
        ]

    def write(self) -> None:
        """Let some transaction, perhaps a new one, execute some statements."""
        open, random = self._postgres.open, self._random
        if len(open) < _OPEN_MAX and (not open or random.random() < 0.5):
            work = self._postgres.begin(
                is_asynchronous=random.random() < 0.3, is_stalled=random.random() < self._stalled
            )
            if random.random() < 0.08:
                self._write_elsewhere(work)
                return
        else:
            work = random.choice(open)
        statements, weights = zip(*self._statements, strict=True)
        for statement in random.choices(statements, weights, k=random.choice([1, 2, 3, 6])):
            statement(work, random.choice((0, 0, 1, 1, 1, 2)))

    def end(self) -> None:
        """Let some transaction end."""
        open = self._postgres.open
        if open:
            work = self._random.choice([work for work in open if work.xid] or open)
            if self._random.random() < 0.08:
                self._postgres.roll_back(work)
            else:
                self._postgres.commit(work, self._random.choice([1, 7, 48]))

    def _write_elsewhere(self, work: Work) -> None:
        # A table that is not published: no row messages, and from PostgreSQL 15 on no commit.
        self._postgres.note(work)
        work.is_silent = self._random.random() < 0.5

    def _row(self, table: int, key: Key) -> Row:
        choice = self._random.choice
        match table:
            case 0:
                return (*key, choice(_BODIES), choice(_BIG))
            case 1:
                return (*key, choice(_GROUPS), b"%d" % choice((1, 9, 10, 12)), choice(_BIG))
            case _:
                return (*key, choice(_BIG))

    def _key(self, table: int) -> Key:
        if table == 2:
            return b"%d" % self._random.randint(1, 3), self._random.choice((b"p", b"q"))
        return (b"%d" % self._random.randint(1, 10),)

    def _some(self, work: Work, table: int, count: int = 1) -> list[Row]:
        """Return rows that this transaction may change now."""
        may_write, key_of = self._postgres.may_write, TABLES[table].key_of
        rows = list(self._postgres.rows(work, table).values())
        self._random.shuffle(rows)
        return [row for row in rows[: count + 2] if may_write(work, table, key_of(row))][:count]

    def _is_free(self, work: Work, table: int, key: Key) -> bool:
        is_there = key in self._postgres.rows(work, table)
        return not is_there and self._postgres.may_write(work, table, key)

    # --- statements ---

    def _insert(self, work: Work, table: int) -> None:
        key = self._key(table)
        if self._is_free(work, table, key):
            self._postgres.insert(work, table, self._row(table, key))

    def _update(self, work: Work, table: int) -> None:
        for row in self._some(work, table):
            self._postgres.update(work, table, row, self._changed(table, row))

    def _changed(self, table: int, row: Row) -> Row:
        """Change some of the columns that are not the key."""
        other = self._row(table, TABLES[table].key_of(row))
        is_all = self._random.random() < 0.2
        at = self._random.randrange(len(TABLES[table].key_at), len(row))
        return other if is_all else (*row[:at], other[at], *row[at + 1 :])

    def _delete(self, work: Work, table: int) -> None:
        for row in self._some(work, table):
            self._postgres.delete(work, table, row)

    def _rekey(self, work: Work, table: int) -> None:
        for row in self._some(work, table):
            key = self._key(table)
            if self._is_free(work, table, key):
                new = self._with_key(table, row, key)
                if self._random.random() < 0.5:
                    new = self._changed(table, new)
                self._postgres.update(work, table, row, new)

    def _with_key(self, table: int, row: Row, key: Key) -> Row:
        return (*key, *row[len(TABLES[table].key_at) :])

    def _swap(self, work: Work, table: int) -> None:
        """Let two rows, or three, change places."""
        rows = self._some(work, table, self._random.choice([2, 2, 3]))
        if len(rows) < 2:
            return
        first, *others = rows
        temporary = (b"%d" % _TEMPORARY, *TABLES[table].key_of(first)[1:])
        if not self._is_free(work, table, temporary):
            return
        held, free = self._with_key(table, first, temporary), TABLES[table].key_of(first)
        self._postgres.update(work, table, first, held)
        for row in others:
            self._postgres.update(work, table, row, self._with_key(table, row, free))
            free = TABLES[table].key_of(row)
        self._postgres.update(work, table, held, self._with_key(table, held, free))

    def _replace(self, work: Work, table: int) -> None:
        for row in self._some(work, table):
            self._postgres.delete(work, table, row)
            self._postgres.insert(work, table, self._row(table, TABLES[table].key_of(row)))

    def _update_all(self, work: Work, table: int) -> None:
        """Make a transaction that is too large for one frame."""
        for _ in range(self._random.choice([2, 4])):
            for row in self._some(work, table, 10):
                self._postgres.update(work, table, row, self._row(table, TABLES[table].key_of(row)))

    def _truncate(self, work: Work, table: int) -> None:
        if self._postgres.may_truncate(work, table):
            self._postgres.truncate(work, table)
