"""Random shapes of the oracle's closed list of filters.

The one rule: a condition uses only columns that the table's identity can judge, and constants that
rows really have, so that rows move in and out.
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
from tidelab.workload.tables import KINDS, TENANTS, Kind

TAILS = 0.12  # of the subscriptions want no rows that are there


def make_shape(random: Random) -> tuple[Shape, bool]:
    """Draw a shape, and whether it wants the rows that are there."""
    kind = random.choice(KINDS)
    columns = [*kind.key, *kind.values]
    if kind.name == "events":
        columns = ["tenant", "id", "kind", "payload"]
    if random.random() < 0.3:
        columns = [name for name in columns if name in kind.key or random.random() < 0.6]
    is_whole = random.random() < 0.3
    filter: Filter = Everything() if is_whole else _filter(random, kind, 2)
    return Shape(kind.name, tuple(columns), filter), random.random() >= TAILS


def _filter(random: Random, kind: Kind, depth: int) -> Filter:
    choice = random.randrange(7 if depth else 4)
    if choice < 4:
        return _comparison(random, kind)
    parts = (_filter(random, kind, depth - 1), _filter(random, kind, depth - 1))
    match choice:
        case 4:
            return And(parts)
        case 5:
            return Or(parts)
        case _:
            return Not(parts[0])


def _comparison(random: Random, kind: Kind) -> Filter:
    column = random.choice(kind.filters)
    if column not in kind.key and random.random() < 0.15:
        return IsNull(column)
    match column:
        case "tenant":
            chosen = random.sample(TENANTS, random.randint(1, 2))
            return Equal(column, chosen[0]) if len(chosen) == 1 else OneOf(column, tuple(chosen))
        case "is_paid":
            return Equal(column, random.choice("tf"))
        case "note":
            return OneOf(column, ("", "a", "it's", "\u2603 snow"))
        case "day":
            return OneOf(column, tuple(f"2026-01-{n:02d}" for n in random.sample(range(1, 25), 6)))
        case "id" if kind.name == "events":
            ids = random.sample(range(400), 60)
            return OneOf(column, tuple(f"00000000-0000-4000-8000-{n:012d}" for n in ids))
        case "price":
            return Between(column, None, str(random.randrange(100, 9000)))
        case _:
            return _range(random, column)


def _range(random: Random, column: str) -> Filter:
    """Draw a range over what the column has; some are open at one end."""
    widest = {"id": 600, "order_id": 250, "line": 6, "quantity": 10}[column]
    low = random.randrange(widest)
    high = low + random.randrange(1, widest)
    ends = random.choice(((low, high), (low, None), (None, high)))
    return Between(column, *(None if end is None else str(end) for end in ends))
