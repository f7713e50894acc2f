"""Goal: the net effect of a frame, applied together, leaves what its changes leave one by one.

Method: tables, changes and conditions by chance against a dictionary; and the table at the head of
`net.py`, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidewire.core.model.change import UNCHANGED, Row
from tidewire.core.shape.effect import Alter, Clear, Effect, Enter, Leave, Rekey
from tidewire.core.shape.net import net_of

# Rows are (value, other value, key).
KEY_AT = 2
U = UNCHANGED


def row(key: str, a: str = "a", b: str = "b") -> Row:
    return a.encode(), b.encode(), key.encode()


def key(name: str) -> Row:
    return None, None, name.encode()


def told(name: str, a: object = U, b: object = U) -> Row:
    cells = [cell.encode() if isinstance(cell, str) else U for cell in (a, b)]
    return (*cells, name.encode())


ENTER = Enter(row("1"))
WHOLE = Alter(row("1"), row("1", "x"))


@pytest.mark.parametrize(
    ("effects", "net"),
    [
        ([ENTER, Alter(None, told("1", "x"))], [Enter(row("1", "x"))]),
        ([ENTER, Leave(key("1"))], []),
        ([ENTER, Rekey(key("1"), told("2", "x"), False)], [Enter(row("2", "x"))]),
        ([WHOLE, Alter(row("1", "x"), row("1", "y"))], [Alter(row("1"), row("1", "y"))]),
        ([WHOLE, Alter(row("1", "x"), row("1"))], [Alter(row("1"), row("1"))]),
        (
            [Alter(None, told("1", "x", U)), Alter(None, told("1", U, "y"))],
            [Alter(None, told("1", "x", "y"))],
        ),
        ([WHOLE, Leave(key("1"))], [Leave(key("1"))]),
        (
            [WHOLE, Rekey(row("1", "x"), row("2", "x"), True)],
            [Rekey(row("1"), row("2", "x"), True)],
        ),
        (
            [Alter(None, told("1", "x")), Rekey(key("1"), told("2", U, "y"), False)],
            [Rekey(key("1"), told("2", "x", "y"), False)],
        ),
        (
            [Rekey(key("1"), told("2", "x"), False), Alter(None, told("2", U, "y"))],
            [Rekey(key("1"), told("2", "x", "y"), False)],
        ),
        (
            [Rekey(key("1"), told("2", "x"), False), Rekey(key("2"), told("3", U, "y"), False)],
            [Rekey(key("1"), told("3", "x", "y"), False)],
        ),
        (
            [Rekey(key("1"), told("2", "x"), False), Rekey(key("2"), told("1"), False)],
            [Alter(None, told("1", "x"))],
        ),
        (
            [Rekey(row("1"), row("2"), True), Rekey(row("2"), row("1"), True)],
            [Alter(row("1"), row("1"))],
        ),
        ([Rekey(key("1"), row("2"), False), Leave(key("2"))], [Leave(key("1"))]),
        ([Leave(key("1")), Enter(row("1", "x"))], [Alter(None, row("1", "x"))]),
        ([Leave(key("1")), Enter(row("1")), Leave(key("1"))], [Leave(key("1"))]),
        (
            [Leave(key("1")), Enter(row("2")), Rekey(key("2"), told("1"), False)],
            [Alter(None, row("1"))],
        ),
        (
            [Leave(key("2")), Rekey(key("1"), told("2"), False)],
            [Leave(key("2")), Rekey(key("1"), told("2"), False)],
        ),
        (
            [Rekey(key("1"), told("2"), False), Enter(row("1"))],
            [Rekey(key("1"), told("2"), False), Enter(row("1"))],
        ),
        ([Leave(key("3")), WHOLE, Clear(), Enter(row("1"))], [Clear(), Enter(row("1"))]),
        ([ENTER, Clear(), Clear()], [Clear()]),
        ([ENTER, Enter(row("2"))], [ENTER, Enter(row("2"))]),
        ([WHOLE], [WHOLE]),
    ],
)
def test_each_pair_of_effects_has_its_net(effects: list[Effect], net: list[Effect]) -> None:
    assert list(net_of(effects, KEY_AT)) == net


def test_two_rows_may_swap_their_keys() -> None:
    via = [
        Rekey(key("1"), told("3"), False),
        Rekey(key("2"), told("1"), False),
        Rekey(key("3"), told("2"), False),
    ]
    swap = [Rekey(key("2"), told("1"), False), Rekey(key("1"), told("2"), False)]
    assert list(net_of(via, KEY_AT)) == swap


# --- by chance ---

Rows = dict[bytes, tuple[bytes, bytes]]


def apply_together(rows: Rows, effects: Sequence[Effect]) -> Rows:
    """Do what PROTOCOL.md asks of clients: all go, all old keys go, then rows come."""
    rows = dict(rows)
    before = dict(rows)
    if any(isinstance(effect, Clear) for effect in effects):
        rows.clear()
    for effect in effects:
        if isinstance(effect, Leave | Rekey):
            del rows[name_of(effect.old)]
    for effect in effects:
        match effect:
            case Enter(new=new):
                assert name_of(new) not in rows, "nothing is overwritten"
                rows[name_of(new)] = merge((b"?", b"?"), new)
            case Alter(new=new):
                rows[name_of(new)] = merge(rows[name_of(new)], new)
            case Rekey(old=old, new=new):
                assert name_of(new) not in rows, "nothing is overwritten"
                rows[name_of(new)] = merge(before[name_of(old)], new)
    return rows


def name_of(row: Row) -> bytes:
    (name,) = row[KEY_AT:]
    assert isinstance(name, bytes)
    return name


def merge(known: tuple[bytes, bytes], new: Row) -> tuple[bytes, bytes]:
    a, b = (new[i] if isinstance(new[i], bytes) else known[i] for i in range(KEY_AT))
    assert isinstance(a, bytes)
    assert isinstance(b, bytes)
    return a, b


NAMES = [b"1", b"2", b"3", b"4"]
names = st.sampled_from(NAMES)
values = st.tuples(st.sampled_from([b"v", b"w"]), st.sampled_from([b"v", b"w"]))


@st.composite
def histories(draw: st.DrawFn) -> tuple[Rows, Rows, list[Effect]]:
    """Draw what a client has, what happens in a frame (one by one), and what is there then."""
    start = draw(st.dictionaries(names, values))
    rows, effects = dict(start), list[Effect]()
    is_whole = draw(st.booleans())
    for _ in range(draw(st.integers(0, 12))):
        name, (a, b) = draw(names), draw(values)
        kind = draw(st.sampled_from(["put", "put", "move", "move", "leave", "clear"]))
        if kind == "clear":
            rows.clear()
            effects.append(Clear())
        elif name not in rows:
            rows[name] = (a, b)
            effects.append(Enter((a, b, name)))
        elif kind == "leave":
            del rows[name]
            effects.append(Leave((None, None, name)))
        else:
            free = [each for each in NAMES if each not in rows]
            target = draw(st.sampled_from(free)) if free and kind == "move" else name
            old = rows.pop(name)
            has_b = is_whole or draw(st.booleans())
            rows[target] = (a, b if has_b else old[1])
            new = (a, b if has_b else UNCHANGED, target)
            if target != name:
                effects.append(Rekey((*old, name), new, is_whole))
            else:
                effects.append(Alter((*old, name) if is_whole else None, new))
    return start, rows, effects


@settings(deadline=None, derandomize=True, max_examples=1500)
@given(histories())
def test_applied_together_it_is_what_the_changes_are_one_by_one(
    history: tuple[Rows, Rows, list[Effect]],
) -> None:
    start, end, effects = history
    net = net_of(effects, KEY_AT)
    assert apply_together(start, net) == end
    out = [name_of(effect.old) for effect in net if isinstance(effect, Leave | Rekey)]
    put = [name_of(effect.new) for effect in net if isinstance(effect, Enter | Alter | Rekey)]
    assert len(set(out)) == len(out), "each row goes once"
    assert len(set(put)) == len(put), "each row comes once"
    entered = {name_of(effect.new) for effect in net if isinstance(effect, Enter)}
    left = {name_of(effect.old) for effect in net if isinstance(effect, Leave)}
    assert not entered & left, "a row that left and one that entered under its key are one"
    assert sum(isinstance(effect, Clear) for effect in net) <= 1
