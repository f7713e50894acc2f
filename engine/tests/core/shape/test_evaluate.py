"""Judging rows: the three truth values of SQL, and patterns of LIKE.

Method: small trees and cells, with the truth that the SQL standard's tables give; patterns against
a slow matcher that follows the definition word by word.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.shape.columns import compare, judged, value
from engine.tests.core.wal.tables import chance
from tidewire.core.shape.ast import (
    Among,
    And,
    Column,
    Compare,
    Flag,
    Is,
    IsNull,
    Like,
    Node,
    Not,
    Operator,
    Or,
    Truth,
)
from tidewire.core.shape.evaluate import like

T3 = (True, False, None)
INT, FLOAT, TEXT = Column("int4"), Column("float8"), Column("text")


def test_and_or_not_have_three_values() -> None:
    for a, b in itertools.product(T3, T3):
        both = (Truth(a), Truth(b))
        assert judged(And(both)) == (False if False in (a, b) else None if None in (a, b) else True)
        assert judged(Or(both)) == (True if True in (a, b) else None if None in (a, b) else False)
    assert [judged(Not(Truth(a))) for a in T3] == [False, True, None]
    assert [judged(Is(Truth(a), True)) for a in T3] == [True, False, False]
    assert [judged(Is(Truth(a), False)) for a in T3] == [False, True, False]
    assert [judged(Not(Is(Truth(a), False))) for a in T3] == [True, False, True]


@pytest.mark.parametrize("sign", ["=", "<>", "<", "<=", ">", ">="])
def test_comparisons(sign: str) -> None:
    truth = {
        "=": (False, True, False),
        "<>": (True, False, True),
        "<": (True, False, False),
        "<=": (True, True, False),
        ">": (False, False, True),
        ">=": (False, True, True),
    }[sign]
    for cell, expected in zip((b"9", b"10", b"11"), truth, strict=True):
        assert judged(compare("int4", sign, "10"), int4=cell) is expected
        pair = Compare(INT, Operator(sign), Column("int8"))
        assert judged(pair, int4=cell, int8=b"10") is expected
    assert judged(compare("int4", sign, "10"), int4=None) is None
    assert judged(compare("int4", sign, None), int4=b"10") is None
    pair = Compare(INT, Operator(sign), Column("int8"))
    assert judged(pair, int4=None, int8=b"1") is judged(pair, int4=b"1", int8=None) is None


def test_equality_is_of_values_not_of_texts() -> None:
    assert judged(compare("float8", "=", "0"), float8=b"-0")
    assert judged(compare("numeric", "=", "1.00"), numeric=b"1.0")
    assert judged(compare("bpchar", "=", "a"), bpchar=b"a   ")
    assert judged(compare("float8", "=", "NaN"), float8=b"NaN")
    assert judged(compare("float8", ">", "Infinity"), float8=b"NaN")
    assert judged(Among(FLOAT, (value("0"), value("NaN"))), float8=b"-0")
    assert judged(compare("text", "=", "a"), text=b"a ") is False


DISTINCT: list[tuple[bytes | None, str | None, bool]] = [
    (b"1", "1", False),
    (b"1", "2", True),
    (None, "1", True),
    (b"1", None, True),
    (None, None, False),
]


@pytest.mark.parametrize(("cell", "other", "expected"), DISTINCT)
def test_distinct_takes_null_for_a_value(
    cell: bytes | None, other: str | None, expected: bool
) -> None:
    assert judged(compare("int4", "IS DISTINCT FROM", other), int4=cell) is expected
    pair = Compare(FLOAT, Operator.DISTINCT, Column("float4"))
    cells = {"float8": cell, "float4": None if other is None else other.encode()}
    assert judged(pair, **cells) is expected


LISTS: list[tuple[tuple[str | None, ...], bytes | None, bool | None]] = [
    (("1", "2"), b"2", True),
    (("1", "2"), b"3", False),
    (("1", "2"), None, None),
    (("1", None), b"1", True),
    (("1", None), b"3", None),
    ((), b"1", False),
    ((), None, False),
]


@pytest.mark.parametrize(("items", "cell", "expected"), LISTS)
def test_lists(items: tuple[str | None, ...], cell: bytes | None, expected: bool | None) -> None:
    assert judged(Among(INT, tuple(map(value, items))), int4=cell) is expected


def test_null_is_asked_for() -> None:
    assert [judged(IsNull(INT), int4=cell) for cell in (None, b"", b"1")] == [True, False, False]


PATTERNS = [
    ("", "", True),
    ("%", "", True),
    ("_", "", False),
    ("a%", "a\nb", True),
    ("%b", "ab", True),
    ("_b", "éb", True),
    ("_", "\n", True),
    ("__", "é", False),
    ("a\\%", "a%", True),
    ("a\\%", "ab", False),
    ("\\a\\_", "a_", True),
    ("%a%a%", "a", False),
    ("%a%a%", "aa", True),
    ("aa%aa", "aaa", False),
    ("a%b%c", "abc", True),
    ("a%b%c", "acb", False),
    ("x%y%z", "ayz", False),
    (".*", "ab", False),
    ("%%", "", True),
]


@pytest.mark.parametrize(("pattern", "text", "expected"), PATTERNS)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert judged(Like(TEXT, value(pattern)), text=text.encode()) is expected


def test_a_pattern_and_a_text_may_be_null() -> None:
    assert judged(Like(TEXT, value(None)), text=b"a") is None
    assert judged(Like(TEXT, value("%")), text=None) is None


def slow_like(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(slow_like(pattern[1:], text[i:]) for i in range(len(text) + 1))
    literal = pattern[1:2] if pattern[0] == "\\" else pattern[0]
    rest = pattern[2:] if pattern[0] == "\\" else pattern[1:]
    fits = bool(text) and (pattern[0] == "_" or literal == text[0])
    return fits and slow_like(rest, text[1:])


@chance
@given(st.lists(st.sampled_from(["a", "b", "%", "_", "\\%", "\\_"]), max_size=7), st.text("ab%_é"))
def test_patterns_by_chance(pattern: list[str], text: str) -> None:
    joined = "".join(pattern)
    assert like(joined)(text[:9].encode()) is slow_like(joined, text[:9])


def test_a_hostile_pattern_takes_no_long_time() -> None:
    assert not like("%a" * 400 + "%b")(b"a" * 20_000)


def test_only_bound_trees_are_judged() -> None:
    unbound: Node = Flag(Column("bool"))
    with pytest.raises(AssertionError, match="not bound"):
        judged(unbound, bool=b"t")
