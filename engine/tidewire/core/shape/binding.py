"""A condition as written meets the columns of its table.

PostgreSQL is asked for each constant what it is in the column's type (`Question`); this module says
which questions there are and builds the bound tree from the answers. The rule it lives by: a
constant is accepted only where comparing it in the column's type gives what PostgreSQL gives, which
may compare in another type. `f4 = 1.1` is compared as float8 and `i4 = 1.5` as numeric, so there
the constant has to be the same in both (`is_exact`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn, assert_never

import msgspec

from tidewire import limits
from tidewire.core.shape.ast import (
    Among,
    AmongArray,
    And,
    Array,
    Column,
    Compare,
    Constant,
    Flag,
    Form,
    Is,
    IsNull,
    Like,
    Literal,
    Node,
    Not,
    Operator,
    Or,
    Parameter,
    Truth,
    TypeName,
    Value,
    canonical,
)
from tidewire.core.shape.types import (
    INTEGERS,
    KIND_BY_NAME,
    STRINGS,
    ColumnType,
    Kind,
    equality_fault,
    like_fault,
    null_fault,
    order_fault,
)
from tidewire.errors import SyncError

_NUMBERS = INTEGERS | {Kind.NUMERIC}
_ACCEPTED: dict[Kind, frozenset[Kind]] = {
    **dict.fromkeys(_NUMBERS, _NUMBERS),
    Kind.FLOAT4: _NUMBERS | {Kind.FLOAT4, Kind.FLOAT8},
    Kind.FLOAT8: _NUMBERS | {Kind.FLOAT4, Kind.FLOAT8},
    Kind.TEXT: STRINGS,
    Kind.VARCHAR: STRINGS,
    Kind.DATE: frozenset({Kind.DATE, Kind.TIMESTAMP}),
    Kind.TIMESTAMP: frozenset({Kind.DATE, Kind.TIMESTAMP}),
    Kind.TIMESTAMPTZ: frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ}),
}
"""Types of constants that may meet a column of a type; of the others only its own."""
_WIDER = {Kind.FLOAT4: Kind.FLOAT8, Kind.DATE: Kind.TIMESTAMP}
"""Types as which PostgreSQL compares a column that meets a constant of another type."""
_ORDERING = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})
_LIKE_TYPE = ColumnType(Kind.TEXT, 25, "pg_catalog", "text")


class Question(NamedTuple):
    """Ask PostgreSQL to cast a text through some types to that of a column."""

    text: str
    through: tuple[Kind, ...]
    target: ColumnType
    is_exact: bool
    """The last cast must not change the value."""
    is_array: bool
    is_parameter: bool


Answers = Mapping[Question, tuple[bytes | None, ...]]


class ParameterType(NamedTuple):
    """What PostgreSQL takes a parameter for; `kind` is None for types beyond our list."""

    kind: Kind | None
    is_array: bool = False


class Given(NamedTuple):
    """What a client has sent for its parameters, as text, with PostgreSQL's types for them."""

    values: Sequence[str | None] = ()
    types: Sequence[ParameterType] = ()


def bind(
    written: Node, columns: Mapping[str, ColumnType], given: Given, answers: Answers
) -> tuple[Node, list[Question]]:
    """Build the canonical tree, and list the questions that `answers` does not hold.

    While there are any, the tree is not whole: ask them, and call again.
    Raises SyncError when the condition cannot be followed.
    """
    binder = _Binder(columns, given, answers)
    bound = canonical(binder.node(written))
    return bound, binder.open


def _refuse(reason: str) -> NoReturn:
    raise SyncError("unsupported_where", reason)


class _Binder:
    """Walk over a tree as written."""

    def __init__(self, columns: Mapping[str, ColumnType], given: Given, answers: Answers) -> None:
        self._columns = columns
        self._given = given
        self._answers = answers
        self.open: list[Question] = []

    def node(self, node: Node) -> Node:
        match node:
            case Truth():
                return node
            case Flag(column=column):
                return self._flag(column)
            case Compare():
                return self._compare(node)
            case Among():
                return self._among(node)
            case AmongArray():
                return self._among_array(node)
            case Like():
                return self._like(node)
            case IsNull(column=column):
                self._check(column, null_fault(self._type(column)))
                return node
            case Is(operand=operand, value=value):
                return Is(self.node(operand), value)
            case Not(operand=operand):
                return Not(self.node(operand))
            case And(operands=operands):
                return And(tuple(map(self.node, operands)))
            case Or(operands=operands):
                return Or(tuple(map(self.node, operands)))
            case _:
                assert_never(node)

    def _type(self, column: Column) -> ColumnType:
        type = self._columns.get(column.name)
        if type is None:
            raise SyncError("unknown_column", f"there is no column {column.name!r} to follow")
        return type

    def _check(self, column: Column, fault: str | None) -> None:
        if fault:
            _refuse(f"column {column.name!r} {fault}")

    def _flag(self, column: Column) -> Node:
        if self._type(column).kind is not Kind.BOOL:
            _refuse(f"column {column.name!r} is no condition: it is not of type bool")
        return Compare(column, Operator.EQ, Value(b"t"))

    def _compare(self, written: Compare) -> Node:
        compare = canonical(written)
        assert isinstance(compare, Compare)
        left, right = compare.left, compare.right
        assert isinstance(left, Column)
        fault = order_fault if compare.operator in _ORDERING else equality_fault
        type = self._type(left)
        self._check(left, fault(type))
        if not isinstance(right, Column):
            return Compare(left, compare.operator, self._value(right, type))
        self._check(right, fault(self._type(right)))
        if not self._is_comparable(type, self._type(right)):
            _refuse(
                f"columns {left.name!r} and {right.name!r} have different types: "
                "only columns of one type can be compared"
            )
        return compare

    def _is_comparable(self, left: ColumnType, right: ColumnType) -> bool:
        # Two enums are two types.
        return left.family is right.family and (
            left.kind is not Kind.ENUM or (left.schema, left.name) == (right.schema, right.name)
        )

    def _among(self, node: Among) -> Node:
        type = self._type(node.column)
        self._check(node.column, equality_fault(type))
        # PostgreSQL compares with all of a list in one type, and reads its strings as that.
        other = any(kinds and kinds[-1] is not type.kind for kinds in map(self._kinds, node.items))
        wider = (_WIDER[type.kind],) if other and type.kind in _WIDER else ()
        values = (self._value(item, type, wider) for item in node.items)
        return Among(node.column, tuple(values))

    def _among_array(self, node: AmongArray) -> Node:
        type = self._type(node.column)
        self._check(node.column, equality_fault(type))
        if isinstance(node.array, Array):
            return Among(node.column, self._elements(node.array, type))
        text, kinds = self._source(node.array, is_array=True)
        if text is None:
            return Compare(node.column, Operator.EQ, Value(None))
        values = self._ask(text, kinds, type, node.array, is_array=True)
        if len(values) > limits.WHERE_VALUES:
            _refuse(f"an array can have {limits.WHERE_VALUES} elements here")
        return Among(node.column, values)

    def _elements(self, array: Array, type: ColumnType) -> tuple[Value, ...]:
        items = [item for item in array.items if item != Literal(Form.NULL)]
        if len({(isinstance(i, Parameter) or i.form, i.cast) for i in items}) > 1:
            # The type of such an array is found without the column: not worth the doubt.
            _refuse("the elements of an ARRAY must be written alike")
        if array.cast is not None:
            if any(item.cast for item in items):
                _refuse("a cast of a cast cannot be followed")
            items = [msgspec.structs.replace(item, cast=array.cast) for item in items]
        nulls = (Value(None),) if len(items) < len(array.items) else ()
        # Without a cast, PostgreSQL takes strings in an ARRAY for text.
        return tuple(self._value(item, type, (Kind.TEXT,)) for item in items) + nulls

    def _like(self, node: Like) -> Node:
        self._check(node.column, like_fault(self._type(node.column)))
        pattern = self._value(node.pattern, _LIKE_TYPE)
        if pattern.text is not None:
            _check_pattern(pattern.text.decode())
        return Like(node.column, pattern)

    def _value(self, constant: Constant, type: ColumnType, untyped: tuple[Kind, ...] = ()) -> Value:
        """Return a constant in the type of a column; `untyped` is what strings are taken for."""
        assert not isinstance(constant, Value)
        text, kinds = self._source(constant, is_array=False)
        if text is None:
            return Value(None)
        return self._ask(text, kinds or untyped, type, constant, is_array=False)[0]

    def _source(
        self, constant: Literal | Parameter, *, is_array: bool
    ) -> tuple[str | None, tuple[Kind, ...]]:
        """Return the text of a constant and the types that PostgreSQL takes it through."""
        kinds = self._kinds(constant)
        if isinstance(constant, Literal):
            return (None if constant.form is Form.NULL else constant.text), kinds
        place = constant.number - 1
        if place >= len(self._given.values):
            raise SyncError("bad_params", f"${constant.number} has no value")
        own = self._given.types[place]
        if own.kind is None:  # an enum: whatever does not fit it, PostgreSQL has refused
            return self._given.values[place], kinds
        if own.is_array is not is_array or (kinds and own.kind is not kinds[-1]):
            _refuse(f"${constant.number} is used as two types: give the value twice")
        return self._given.values[place], (own.kind,)

    def _kinds(self, constant: Constant) -> tuple[Kind, ...]:
        """Return the types that a constant names by how it is written."""
        if isinstance(constant, Parameter):
            return _kind_named(constant.cast)
        assert isinstance(constant, Literal)
        if constant.form is Form.NUMBER:
            return (Kind.NUMERIC, *_kind_named(constant.cast))
        return (Kind.BOOL,) if constant.form is Form.BOOL else _kind_named(constant.cast)

    def _ask(
        self,
        text: str,
        kinds: tuple[Kind, ...],
        type: ColumnType,
        constant: Literal | Parameter,
        *,
        is_array: bool,
    ) -> tuple[Value, ...]:
        last = kinds[-1] if kinds else type.kind
        if constant.cast and type.kind is Kind.ENUM:
            if constant.cast not in ((type.name,), (type.schema, type.name)):
                _refuse(f"a constant is cast to {'.'.join(constant.cast)}, not to {type.name}")
        elif constant.cast and not _kind_named(constant.cast):
            _refuse(f"a cast to {'.'.join(constant.cast)} cannot be followed")
        elif last not in _ACCEPTED.get(type.kind, {type.kind}):
            _refuse(f"a constant of type {last.value} meets a column of type {type.name}")
        if type.kind is Kind.FLOAT4 and last in _NUMBERS:
            kinds = (*kinds, Kind.FLOAT8)
        is_exact = last is not type.kind and type.kind in (*INTEGERS, *_WIDER)
        through = kinds if is_exact or last is not type.kind or len(kinds) > 1 else ()
        question = Question(
            text, through, type, is_exact, is_array, isinstance(constant, Parameter)
        )
        if question not in self._answers:
            self.open.append(question)
            return () if is_array else (Value(None),)
        return tuple(map(Value, self._answers[question]))


def _kind_named(name: TypeName | None) -> tuple[Kind, ...]:
    if name is None or (len(name) == 2 and name[0] != "pg_catalog"):
        return ()
    kind = KIND_BY_NAME.get(name[-1])
    return () if kind is None else (kind,)


def _check_pattern(pattern: str) -> None:
    if len(pattern) > limits.LIKE_CHARS:
        _refuse(f"a pattern of LIKE can have {limits.LIKE_CHARS} characters here")
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        _refuse("a pattern of LIKE must not end with its escape character")
