"""The text of a condition becomes a tree, as written; what the tree has no node for is refused.

sqlglot reads more than PostgreSQL does, and some of it otherwise. So this reading is only half of
it: `postgres/condition.py` lets PostgreSQL read the text too and compares the two.
Importing this module costs 0.1 s (sqlglot): only the server does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from sqlglot import ErrorLevel, exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.tokenizer_core import Token, TokenType

from tidewire import limits
from tidewire.core.shape.ast import (
    Among,
    AmongArray,
    And,
    Array,
    Column,
    Compare,
    Flag,
    Form,
    Is,
    IsNull,
    Like,
    Literal,
    Node,
    Not,
    Operand,
    Operator,
    Or,
    Parameter,
    Truth,
    TypeName,
)
from tidewire.errors import SyncError

_OPENING = frozenset({TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE})
_CLOSING = frozenset({TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE})
_SIGNS = frozenset({
    "(", ")", "[", "]", ",", ".", ";", "::", "=", "==", "<>", "!=", "<", "<=", ">", ">=", "-", "+",
    "$", "@",
})  # fmt: skip
_TEXTS = frozenset({TokenType.IDENTIFIER, TokenType.NUMBER, TokenType.STRING})
_TOO_DEEP = f"the condition is nested more than {limits.WHERE_DEPTH} deep"
_SIGN = re.compile(r"\W+", re.ASCII)
_NUMBER = re.compile(r"\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_TYPE_NAMES = {
    exp.DataType.Type.BOOLEAN: "bool",
    exp.DataType.Type.SMALLINT: "int2",
    exp.DataType.Type.INT: "int4",
    exp.DataType.Type.BIGINT: "int8",
    exp.DataType.Type.DECIMAL: "numeric",
    exp.DataType.Type.FLOAT: "float4",
    exp.DataType.Type.DOUBLE: "float8",
    exp.DataType.Type.TEXT: "text",
    exp.DataType.Type.VARCHAR: "varchar",
    exp.DataType.Type.BPCHAR: "bpchar",
    exp.DataType.Type.UUID: "uuid",
    exp.DataType.Type.DATE: "date",
    exp.DataType.Type.TIMESTAMP: "timestamp",
    exp.DataType.Type.TIMESTAMPTZ: "timestamptz",
    exp.DataType.Type.TIME: "time",
    exp.DataType.Type.VARBINARY: "bytea",
}
_OPERATORS: dict[type[exp.Expr], Operator] = {
    exp.EQ: Operator.EQ,
    exp.NEQ: Operator.NE,
    exp.LT: Operator.LT,
    exp.LTE: Operator.LE,
    exp.GT: Operator.GT,
    exp.GTE: Operator.GE,
    exp.NullSafeNEQ: Operator.DISTINCT,
    exp.NullSafeEQ: Operator.DISTINCT,
}
_HINTS: tuple[tuple[type[exp.Expr], str], ...] = (
    (exp.Query, "a query inside a condition cannot be followed: only the row itself is judged"),
    (exp.Subquery, "a query inside a condition cannot be followed: only the row itself is judged"),
    (exp.ILike, "ILIKE depends on the language: use LIKE on a column that is folded already"),
    (exp.Escape, "LIKE knows no other escape than the backslash here"),
    (exp.Concat, "a string in pieces cannot be followed: write it as one"),
    (exp.ByteString, "write the string without E: '...', with '' for a quote"),
    (exp.Func, "functions cannot be followed: compare with a parameter or a column instead"),
    (exp.Binary, "calculations and this operator cannot be followed"),
)


def parse(text: str) -> Node:
    """Read a condition.

    Raises SyncError: `bad_where` when it cannot be read, else `unsupported_where` with the reason.
    """
    try:
        return _condition(_expression(text), 0)
    except SyncError:
        raise
    except Exception as error:
        # Whatever the library raises (its own errors, RecursionError, AttributeError ...) speaks
        # of the text: a stranger's text must never do more than be refused.
        raise SyncError("bad_where", "the condition cannot be read") from error


def _expression(text: str) -> exp.Expr:
    dialect = Postgres()
    tokens = dialect.tokenize(text)
    _check_tokens(tokens)
    parser = dialect.parser(error_level=ErrorLevel.IMMEDIATE)
    [tree] = parser.parse_into(exp.Condition, tokens, text)
    if tree is None:
        raise SyncError("bad_where", "the condition is empty")
    return tree


def _check_tokens(tokens: list[Token]) -> None:
    """Refuse early what costs the library much: depth, chains of subscripts, operators."""
    depth = 0
    before = ""
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth > limits.WHERE_DEPTH:
            _refuse(_TOO_DEEP)
        if token.comments:
            _refuse("comments are not part of a condition: remove them")
        if token.token_type not in _TEXTS and _is_foreign(token.text):
            _refuse(f"the operator {token.text[:10]} cannot be followed")
        if token.token_type is TokenType.L_BRACKET and before == "]":
            _refuse("arrays have one dimension here")
        before = token.text


def _is_foreign(text: str) -> bool:
    return _SIGN.fullmatch(text) is not None and text.isascii() and text not in _SIGNS


def _refuse(reason: str) -> NoReturn:
    raise SyncError("unsupported_where", reason)


def _refuse_node(node: exp.Expr) -> NoReturn:
    for kind, hint in _HINTS:
        if isinstance(node, kind):
            _refuse(hint)
    _refuse(f"{type(node).__name__} is not part of the language of conditions")


def _only(node: exp.Expr, *known: str) -> None:
    """Refuse a node that says more than what we read of it."""
    for name, value in node.args.items():
        if name not in known and value not in (None, False, []):
            _refuse(f"{name.upper()} of {type(node).__name__} is not part of the language")


def _condition(node: exp.Expr, depth: int) -> Node:
    if depth > limits.WHERE_DEPTH:
        _refuse(_TOO_DEEP)
    if type(node) in _OPERATORS:
        return _comparison(node)
    reader = _CONDITIONS.get(type(node))
    if reader is None:
        _refuse_node(node)
    return reader(node, depth)


def _parenthesis(node: exp.Expr, depth: int) -> Node:
    return _condition(node.this, depth + 1)


def _junction(node: exp.Expr, depth: int) -> Node:
    # a AND b AND c ... comes as deep as it is long.
    kind = type(node)
    _only(node, "this", "expression")
    operands = []
    while type(node) is kind:
        operands.append(node.expression)
        node = node.this
    operands.append(node)
    read = tuple(_condition(operand, depth + 1) for operand in reversed(operands))
    return And(read) if kind is exp.And else Or(read)


def _negation(node: exp.Expr, depth: int) -> Node:
    return Not(_condition(node.this, depth + 1))


def _constant_truth(node: exp.Expr, depth: int) -> Node:
    return Truth(bool(node.this) if isinstance(node, exp.Boolean) else None)


def _flag(node: exp.Expr, depth: int) -> Node:
    return Flag(_column(node))


def _comparison(node: exp.Expr) -> Node:
    _only(node, "this", "expression")
    operator = _OPERATORS[type(node)]
    if operator is Operator.EQ and isinstance(node.expression, exp.Any):
        return AmongArray(_column(node.this), _array(_bare(node.expression.this)))
    compare = _compare(node.this, operator, node.expression)
    return Not(compare) if type(node) is exp.NullSafeEQ else compare


def _compare(one: exp.Expr, operator: Operator, other: exp.Expr) -> Compare:
    left, right = _operand(one), _operand(other)
    if not isinstance(left, Column) and not isinstance(right, Column):
        _refuse("compares no column; a comparison is `column operator constant`")
    return Compare(left, operator, right)


def _among(node: exp.Expr, depth: int) -> Node:
    _only(node, "this", "expressions", "query", "field")
    if node.args.get("query"):
        _refuse_node(node.args["query"])
    if not node.expressions:
        _refuse("IN needs a list of constants; for an array write = ANY($1)")
    return Among(_column(node.this), tuple(_constant(item) for item in node.expressions))


def _between(node: exp.Expr, depth: int) -> Node:
    _only(node, "this", "low", "high")
    low = _compare(node.this, Operator.GE, node.args["low"])
    high = _compare(node.this, Operator.LE, node.args["high"])
    return And((low, high))


def _like(node: exp.Expr, depth: int) -> Node:
    _only(node, "this", "expression", "negate")
    like = Like(_column(node.this), _constant(node.expression))
    return Not(like) if node.args.get("negate") else like


def _is(node: exp.Expr, depth: int) -> Node:
    _only(node, "this", "expression", "negate")
    read: Node
    if isinstance(node.expression, exp.Boolean):
        read = Is(_condition(node.this, depth + 1), bool(node.expression.this))
    elif isinstance(node.expression, exp.Null):
        read = IsNull(_column(node.this))
    else:
        _refuse_node(node.expression)
    return Not(read) if node.args.get("negate") else read


_CONDITIONS: dict[type[exp.Expr], Callable[[exp.Expr, int], Node]] = {
    exp.Paren: _parenthesis,
    exp.And: _junction,
    exp.Or: _junction,
    exp.Not: _negation,
    exp.Boolean: _constant_truth,
    exp.Null: _constant_truth,
    exp.Column: _flag,
    exp.In: _among,
    exp.Between: _between,
    exp.Like: _like,
    exp.Is: _is,
}


def _bare(node: exp.Expr) -> exp.Expr:
    while type(node) is exp.Paren:
        node = node.this
    return node


def _identifier(node: exp.Expr) -> str:
    if type(node) is not exp.Identifier:
        _refuse_node(node)
    name = str(node.this)
    if node.args.get("quoted"):
        return name
    # PostgreSQL folds ASCII letters; what it does with others depends on the locale.
    if not name.isascii():
        _refuse(f'write "{name}" with its quotes')
    return name.lower()


def _column(node: exp.Expr) -> Column:
    node = _bare(node)
    if type(node) is not exp.Column:
        if isinstance(node, exp.Literal | exp.Parameter | exp.Boolean | exp.Null | exp.Cast):
            _refuse(f"`{_excerpt(node)}` stands where a column is expected")
        _refuse_node(node)
    if node.args.get("table"):
        _refuse(f"write the column without its table: {node.name!r}")
    _only(node, "this")
    return Column(_identifier(node.this))


def _excerpt(node: exp.Expr) -> str:
    text = node.sql(dialect="postgres")
    return text if len(text) <= 50 else text[:50] + "..."  # enough to find it


def _operand(node: exp.Expr) -> Operand:
    node = _bare(node)
    return _column(node) if type(node) is exp.Column else _constant(node)


def _constant(node: exp.Expr) -> Literal | Parameter:
    node = _bare(node)
    if type(node) is exp.Cast:
        return _cast_constant(node)
    if type(node) is exp.Literal:
        return _literal(node)
    if type(node) is exp.Neg:
        return _negative(node)
    if type(node) is exp.Boolean:
        return Literal(Form.BOOL, "true" if node.this else "false")
    if type(node) is exp.Null:
        return Literal(Form.NULL)
    if type(node) is exp.Parameter:
        return _parameter(node)
    if type(node) is exp.Column:
        _refuse(f"the column {node.name!r} stands where a constant is expected")
    if type(node) in _OPERATORS or type(node) in _CONDITIONS:
        _refuse("a condition cannot be compared with something: use IS TRUE, AND and OR")
    _refuse_node(node)


def _literal(node: exp.Literal) -> Literal:
    text = str(node.this)
    if node.is_string:
        return Literal(Form.STRING, text)
    if not _NUMBER.fullmatch(text):
        _refuse(f"the number {text!r} is written in a way that cannot be followed")
    return Literal(Form.NUMBER, text.lower())


def _negative(node: exp.Neg) -> Literal:
    inner = _bare(node.this)
    if type(inner) is not exp.Literal or inner.is_string:
        _refuse("a minus can only stand before a number; for a cast write (-1)::type")
    return Literal(Form.NUMBER, "-" + _literal(inner).text)


def _parameter(node: exp.Parameter) -> Parameter:
    _only(node, "this")
    digits = str(node.this.this)
    if type(node.this) is not exp.Literal or not digits.isascii() or not digits.isdigit():
        _refuse("parameters are written $1, $2 ...")
    if len(digits) > len(str(limits.PARAMS)) or not 1 <= int(digits) <= limits.PARAMS:
        raise SyncError("bad_params", f"parameters go from $1 to ${limits.PARAMS}")
    return Parameter(int(digits))


def _cast_constant(node: exp.Cast) -> Literal | Parameter:
    _only(node, "this", "to")
    inner = _bare(node.this)
    if type(inner) is exp.Column:
        _refuse("a cast of a column cannot be followed: cast the constant instead")
    if type(inner) is exp.Cast:
        _refuse("a cast of a cast cannot be followed")
    constant = _constant(inner)
    if isinstance(constant, Literal) and constant.form is Form.BOOL:
        _refuse("a cast of TRUE or FALSE cannot be followed")
    return _with_cast(constant, _type_name(node.args["to"]))


def _with_cast(constant: Literal | Parameter, cast: TypeName) -> Literal | Parameter:
    if isinstance(constant, Parameter):
        return Parameter(constant.number, cast)
    return Literal(constant.form, constant.text, cast)


def _type_name(node: exp.Expr) -> TypeName:
    if node.this is exp.DataType.Type.USERDEFINED:
        kind = node.args["kind"]
        if type(kind) is exp.Dot:
            return (_identifier(kind.this), _identifier(kind.expression))
        return (_identifier(kind),)
    if node.expressions or node.this not in _TYPE_NAMES:
        _refuse(f"a cast to {_excerpt(node)} cannot be followed: it may change the value")
    return (_TYPE_NAMES[node.this],)


def _array(node: exp.Expr) -> Literal | Parameter | Array:
    cast = None
    if type(node) is exp.Cast:
        _only(node, "this", "to")
        cast = _element_type(node.args["to"])
        node = _bare(node.this)
    if type(node) is not exp.Array:
        constant = _constant(node)
        if constant.cast is not None:
            _refuse("a cast of a cast cannot be followed")
        return _with_cast(constant, cast) if cast else constant
    _only(node, "expressions", "value_constructor", "bracket_notation")
    items = tuple(_constant(item) for item in node.expressions)
    return Array(items, cast)


def _element_type(node: exp.Expr) -> TypeName:
    if node.this is not exp.DataType.Type.ARRAY or len(node.expressions) != 1:
        _refuse("ANY needs an array: cast to a type with [] at its end")
    return _type_name(node.expressions[0])
