"""The tables of a run, and values for their columns.

The one rule: each table is there for a reason that the others are not.

    notes    one key column, DEFAULT identity, a body stored out of line: rekey without its value
    orders   FULL identity and many types: conditions over any column
    items    two key columns, FULL identity, a large column out of line: moves with an old value
    events   a key of text and uuid, DEFAULT identity: conditions over the key alone
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import LiteralString
from uuid import UUID

TENANTS = ("red", "green", "blue", "it's")
NOTES = ("", "a", "it's", 'say "no"', "\u2603 snow", "back\\slash", "line\nend", None)

SCHEMA: tuple[LiteralString, ...] = (
    "CREATE TABLE notes (id int PRIMARY KEY, tenant text, quantity int, body text)",
    "ALTER TABLE notes ALTER body SET STORAGE EXTERNAL",
    """CREATE TABLE orders (id bigint PRIMARY KEY, tenant text, quantity int, price numeric(12,2),
       is_paid boolean, note varchar(80), placed timestamptz, doc jsonb, day date)""",
    "ALTER TABLE orders REPLICA IDENTITY FULL",
    """CREATE TABLE items (order_id int, line int, tenant text, amount float8, tags text[],
       big text, PRIMARY KEY (order_id, line))""",
    "ALTER TABLE items ALTER big SET STORAGE EXTERNAL",
    "ALTER TABLE items REPLICA IDENTITY FULL",
    "CREATE TABLE events (tenant text, id uuid, kind int, payload bytea, PRIMARY KEY (tenant, id))",
)
FIRST_ROWS: tuple[LiteralString, ...] = (
    """INSERT INTO notes SELECT n, (ARRAY['red','green','blue',NULL])[n % 4 + 1], n % 10,
       repeat('n', CASE n % 4 WHEN 0 THEN 2100 + n ELSE n % 50 END)
       FROM generate_series(1, 400) n""",
    """INSERT INTO orders SELECT n, (ARRAY['red','green','blue',NULL])[n % 4 + 1], n % 10, n / 7.0,
       n % 2 = 0, 'note ' || n, '2026-01-01 00:00Z'::timestamptz + n * interval '1 hour',
       jsonb_build_object('n', n), '2026-01-01'::date + n % 20 FROM generate_series(1, 300) n""",
    """INSERT INTO items SELECT n / 5 + 1, n % 5, (ARRAY['red','green','blue',NULL])[n % 4 + 1],
       n / 3.0::float8, ARRAY['t', n::text], repeat('b', (n % 7) * 40)
       FROM generate_series(0, 999) n""",
    """INSERT INTO events SELECT (ARRAY['red','green','blue'])[n % 3 + 1],
       ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, n % 10, '\\x00ff'
       FROM generate_series(1, 200) n""",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A table as the workload knows it: values for key and other columns, and what may judge it."""

    name: str
    key: dict[str, Callable[[Random], object]]
    values: dict[str, Callable[[Random], object]]
    filters: tuple[str, ...]
    """Columns that a condition may use: those of the key, or any with FULL identity."""


def _large(random: Random) -> str | None:
    """Return a text: sometimes none, sometimes so large that it is stored out of line."""
    return random.choice((None, "", "s" * random.randrange(60), "L" * random.randrange(2500, 6000)))


def _uuid(random: Random) -> str:
    return str(UUID(f"00000000-0000-4000-8000-{random.randrange(400):012d}"))


def _tenant(random: Random) -> str | None:
    return random.choice((*TENANTS, None))


def _quantity(random: Random) -> int | None:
    quantity = random.randrange(-1, 10)
    return None if quantity < 0 else quantity


def _document(random: Random) -> str | None:
    texts = ('{"a": [1, 2.5, "x"], "b": {"c": true}}', "[]", '"text"', "17", None)
    return random.choice(texts)


KINDS = (
    Kind(
        "notes",
        {"id": lambda random: random.randrange(1, 800)},
        {"tenant": _tenant, "quantity": _quantity, "body": _large},
        ("id",),
    ),
    Kind(
        "orders",
        {"id": lambda random: random.choice((1, 2**40)) + random.randrange(600)},
        {
            "tenant": _tenant,
            "quantity": _quantity,
            "price": lambda random: random.choice((None, "NaN", f"{random.randrange(9999)}.50")),
            "is_paid": lambda random: random.choice((True, False, None)),
            "note": lambda random: random.choice(NOTES),
            "placed": lambda random: f"2026-{random.randrange(1, 13):02d}-03 04:05:06.789+02",
            "doc": _document,
            "day": lambda random: f"2026-01-{random.randrange(1, 25):02d}",
        },
        ("id", "tenant", "quantity", "price", "is_paid", "note", "day"),
    ),
    Kind(
        "items",
        {
            "order_id": lambda random: random.randrange(1, 250),
            "line": lambda random: random.randrange(6),
        },
        {
            "tenant": _tenant,
            "amount": lambda random: random.choice((None, 0.1, 1e300, -2.5, random.random())),
            "tags": lambda random: random.choice((None, "{}", '{a,"b c",NULL}')),
            "big": _large,
        },
        ("order_id", "line", "tenant"),
    ),
    Kind(
        "events",
        {"tenant": lambda random: random.choice(TENANTS), "id": _uuid},
        {
            "kind": _quantity,
            "payload": lambda random: random.choice((None, "\\x", "\\xdeadbeef")),
        },
        ("tenant", "id"),
    ),
)
