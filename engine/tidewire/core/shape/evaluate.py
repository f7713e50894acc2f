"""Generated Python that judges a row as PostgreSQL does: three truth values, true is what counts.

For each node there are two expressions: one that holds where SQL says true, one where it says
false; where neither holds, it is NULL. NOT swaps them, IS TRUE reads one of them, and no code ever
sees a third truth value. Only column numbers and names of our own enter the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import TypeAlias, assert_never

from tidewire import limits
from tidewire.core.model.change import Row
from tidewire.core.shape.ast import (
    Among,
    AmongArray,
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
    Value,
)
from tidewire.core.shape.types import ColumnType, Key, key_of

Judge: TypeAlias = Callable[[Row], bool]

_PYTHON = {
    Operator.EQ: "==",
    Operator.NE: "!=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
}
# The order of NaN is in the keys, so that what is not smaller is larger or equal.
_NEGATED = {
    Operator.EQ: "!=",
    Operator.NE: "==",
    Operator.LT: ">=",
    Operator.LE: ">",
    Operator.GT: "<=",
    Operator.GE: "<",
}
_EQUALITIES = frozenset({Operator.EQ, Operator.NE, Operator.DISTINCT})


def compile_tree(tree: Node, types: Mapping[str, ColumnType], places: Mapping[str, int]) -> Judge:
    """Make the function that judges a row, given the types of columns and their places in it."""
    writer = _Writer(types, places)
    source = f"def judge(row):\n    return {writer.holds(tree, True)}\n"
    exec(_code(source), writer.names)  # noqa: S102
    judge: Judge = writer.names["judge"]  # type: ignore[assignment]
    return judge


@lru_cache(limits.CONDITION_FORMS)
def _code(source: str) -> CodeType:
    # Values stand in names: the conditions of ten thousand tenants are one text.
    return compile(source, "<condition>", "exec")


class _Writer:
    """Write expressions, and keep the values that they name."""

    def __init__(self, types: Mapping[str, ColumnType], places: Mapping[str, int]) -> None:
        self._types = types
        self._places = places
        self.names: dict[str, object] = {}

    def holds(self, node: Node, wanted: bool) -> str:
        """Write what is True where the node is true (or false) for SQL, else False."""
        match node:
            case Truth(value=value):
                return str(value is wanted)
            case And(operands=operands):
                return self._joined("and" if wanted else "or", operands, wanted)
            case Or(operands=operands):
                return self._joined("or" if wanted else "and", operands, wanted)
            case Not(operand=operand):
                return self.holds(operand, not wanted)
            case Is(operand=operand, value=value):
                inner = self.holds(operand, value)
                return inner if wanted else f"(not {inner})"
            case IsNull(column=column):
                return f"({self._cell(column)} {'is' if wanted else 'is not'} None)"
            case Compare():
                return self._compare(node, wanted)
            case Among():
                return self._among(node, wanted)
            case Like():
                return self._like(node, wanted)
            case Flag() | AmongArray():
                raise AssertionError("the tree is not bound")
            case _:
                assert_never(node)

    def _joined(self, word: str, operands: tuple[Node, ...], wanted: bool) -> str:
        return f"({f' {word} '.join(self.holds(operand, wanted) for operand in operands)})"

    def _name(self, value: object) -> str:
        name = f"v{len(self.names)}"
        self.names[name] = value
        return name

    def _cell(self, column: Column) -> str:
        return f"row[{self._places[column.name]}]"

    def _key(self, column: Column, operator: Operator) -> Key | None:
        type = self._types[column.name]
        return None if operator in _EQUALITIES and type.has_one_text else key_of(type)

    def _keyed(self, column: Column, key: Key | None) -> str:
        cell = self._cell(column)
        return cell if key is None else f"{self._name(key)}({cell})"

    def _compare(self, node: Compare, wanted: bool) -> str:
        assert isinstance(node.left, Column)
        if node.operator is Operator.DISTINCT:
            return self._distinct(node, wanted)
        sign = (_PYTHON if wanted else _NEGATED)[node.operator]
        left_key = self._key(node.left, node.operator)
        known = f"{self._cell(node.left)} is not None"
        if isinstance(node.right, Column):
            known += f" and {self._cell(node.right)} is not None"
            right = self._keyed(node.right, self._key(node.right, node.operator))
        else:
            assert isinstance(node.right, Value)
            if node.right.text is None:
                return "False"
            right = self._constant(node.right.text, left_key)
        return f"({known} and {self._keyed(node.left, left_key)} {sign} {right})"

    def _constant(self, text: bytes, key: Key | None) -> str:
        return self._name(text if key is None else key(text))

    def _distinct(self, node: Compare, wanted: bool) -> str:
        """Write what differs if NULL is taken for a value like others."""
        assert isinstance(node.left, Column)
        key = self._key(node.left, node.operator)
        cell, left = self._cell(node.left), self._keyed(node.left, key)
        if isinstance(node.right, Column):
            other = self._cell(node.right)
            right = self._keyed(node.right, key)
            differs = (
                f"({cell} is not {other} and "
                f"({cell} is None or {other} is None or {left} != {right}))"
            )
        else:
            assert isinstance(node.right, Value)
            if node.right.text is None:
                differs = f"({cell} is not None)"
            else:
                right = self._constant(node.right.text, key)
                differs = f"({cell} is None or {left} != {right})"
        return differs if wanted else f"(not {differs})"

    def _among(self, node: Among, wanted: bool) -> str:
        key = self._key(node.column, Operator.EQ)
        texts = [item.text for item in node.items if isinstance(item, Value)]
        known = [text for text in texts if text is not None]
        if not node.items:
            return str(not wanted)
        if not wanted and len(known) < len(texts):
            return "False"  # one of them is NULL: none can be excluded
        values = self._name(frozenset(known if key is None else map(key, known)))
        sign = "in" if wanted else "not in"
        cell = self._cell(node.column)
        return f"({cell} is not None and {self._keyed(node.column, key)} {sign} {values})"

    def _like(self, node: Like, wanted: bool) -> str:
        assert isinstance(node.pattern, Value)
        if node.pattern.text is None:
            return "False"
        cell = self._cell(node.column)
        matches = f"{self._name(like(node.pattern.text.decode()))}({cell})"
        return f"({cell} is not None and {'' if wanted else 'not '}{matches})"


def like(pattern: str) -> Callable[[bytes], bool]:
    """Make the function that matches a whole text with a pattern of LIKE.

    What stands between two % is searched for from left to right, the first place is as good as
    any; so the time is bounded by the length of the text times that of the pattern.
    """
    pieces = _pieces(pattern)
    head, *rest = [re.compile("".join(piece), re.DOTALL) for piece in pieces]
    if not rest:
        return lambda cell: head.fullmatch(cell.decode()) is not None
    tail = rest.pop()
    tail_chars = len(pieces[-1])

    def matches(cell: bytes) -> bool:
        text = cell.decode()
        found = head.match(text)
        for piece in rest:
            if found is None:
                return False
            found = piece.search(text, found.end())
        last = len(text) - tail_chars
        return found is not None and found.end() <= last and tail.match(text, last) is not None

    return matches


def _pieces(pattern: str) -> list[list[str]]:
    """Split a pattern at its %, into one regular expression for each character."""
    pieces: list[list[str]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            pieces.append([])
        elif character == "_":
            pieces[-1].append(".")
        else:
            literal = next(characters) if character == "\\" else character
            pieces[-1].append(re.escape(literal))
    return pieces
