"""A stranger's condition becomes a predicate, and PostgreSQL is asked at each step.

1. Our parser reads the text; only what is in the language goes on.
2. PostgreSQL parses the text, and does not run it: its message and position are the error.
3. PostgreSQL casts each constant to the type of its column, once.
4. PostgreSQL explains two expressions side by side, the text and what we have read of it. Only if
   it prints the same for both have we read the same. So no difference between two parsers, in
   precedence, strings or names, can make a condition mean two things.

What is evaluated and what the snapshot is filtered by is our tree, never the text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import generators, sql
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from tidewire import limits
from tidewire.core.shape.ast import Node, columns_of
from tidewire.core.shape.binding import Answers, Given, ParameterType, Question
from tidewire.core.shape.binding import bind as bind_tree
from tidewire.core.shape.parser import parse
from tidewire.core.shape.predicate import Predicate
from tidewire.core.shape.types import (
    KIND_BY_ARRAY_OID,
    KIND_BY_OID,
    ColumnType,
    Kind,
)
from tidewire.errors import SyncError
from tidewire.postgres.database import Connection, query
from tidewire.postgres.rendering import condition_sql, kind_sql, type_sql, written_sql

__all__ = ["Parameter", "bind", "column_types", "condition_sql"]

Parameter = str | int | float | bool | None

# Classes of SQLSTATE that speak of the text or its values (manual, appendix A): all else is ours.
_THEIRS = ("0A", "22", "23", "42", "54")
_SYNTAX_ERROR = "42601"
_UNDEFINED_COLUMN = "42703"
_PARAMETER_ERRORS = ("42P02", "42P18", "42P08")
_INTEGER_BITS = 4096  # far beyond every integer of JSON; str() has a limit of its own
# Messages may quote a constant in full length.
_MESSAGE_CHARS = 300


class _Table(NamedTuple):
    """The table that a condition speaks of, as the catalog has resolved it."""

    oid: int
    schema: str
    name: str


async def bind(
    connection: Connection,
    facts: Mapping[str, Any],
    where: str,
    params: Sequence[Parameter] = (),
) -> Predicate:
    """Read a condition, let PostgreSQL vet it, and bind it to the columns of its table.

    The facts are those of `table.sql`, of which it takes `oid`, `schema` and `name`.
    Raises SyncError with `bad_where`, `unsupported_where`, `unknown_column` or `bad_params`;
    psycopg's errors when the database is in trouble.
    """
    table = _Table(facts["oid"], facts["schema"], facts["name"])
    values = _texts(where, params)
    try:
        # A hostile text takes a while to read, and others want the loop.
        written = await asyncio.to_thread(parse, where)
    except SyncError as error:
        if error.code == "bad_where":
            raise await _unreadable(connection, table, where) from error
        raise
    given = Given(values, await _vet(connection, table, where, len(values)))
    columns = await column_types(connection, table.oid)
    tree, questions = bind_tree(written, columns, given, {})
    if questions:
        answers = await _ask(connection, questions)
        tree, questions = bind_tree(written, columns, given, answers)
        assert not questions
    await _compare_readings(connection, table, where, written, values)
    names = sorted({column.name for column in columns_of(tree)})
    return Predicate(tree, tuple((name, columns[name]) for name in names))


def _texts(where: str, params: Sequence[Parameter]) -> list[str | None]:
    """Return the parameters as PostgreSQL reads them, once everything is of a decent size."""
    if len(where) > limits.WHERE_CHARS:
        raise SyncError("bad_where", f"a condition can have {limits.WHERE_CHARS} characters")
    if not _is_sound(where):
        raise SyncError("bad_where", "the condition is not text: it has a NUL or half a character")
    if len(params) > limits.PARAMS:
        raise SyncError("bad_params", f"a condition can have {limits.PARAMS} parameters")
    return [_text(number, value) for number, value in enumerate(params, 1)]


def _text(number: int, value: Parameter) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        raise SyncError("bad_params", f"${number} is too large for a number")
    text = str(value)
    if not _is_sound(text):
        raise SyncError("bad_params", f"${number} is not text: it has a NUL or half a character")
    return text


def _is_sound(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _from(connection: Connection, table: _Table, template: sql.SQL, *parts: sql.Composable) -> str:
    name = sql.Identifier(table.schema, table.name)
    return template.format(*parts, table=name).as_string(connection)


def _probe(connection: Connection, table: _Table, where: str) -> tuple[str, int]:
    """Return a statement around the text, and how many characters stand before it."""
    before = _from(connection, table, sql.SQL("SELECT 1 FROM {table} WHERE (\n"))
    # The line feed ends a comment that would take the parenthesis with it.
    return f"{before}{where}\n)", len(before)


async def _unreadable(connection: Connection, table: _Table, where: str) -> SyncError:
    """Say why a text cannot be read, with PostgreSQL's words if it cannot read it either.

    Only its syntax errors are passed on: others could tell of what the client may not know.
    """
    statement, offset = _probe(connection, table, where)
    [result] = await connection.wait(_parse_only(connection.pgconn, statement))
    if result.status == ExecStatus.FATAL_ERROR:
        error = _error_of(connection, result)
        if error.sqlstate == _SYNTAX_ERROR:
            return SyncError("bad_where", _told(error, where, offset))
        _theirs(error)
    return SyncError("unsupported_where", "the condition cannot be read: write it more simply")


async def _vet(
    connection: Connection, table: _Table, where: str, count: int
) -> list[ParameterType]:
    """Let PostgreSQL parse the text, never run it; return what it takes the parameters for."""
    statement, offset = _probe(connection, table, where)
    [result] = await connection.wait(_parse_only(connection.pgconn, statement))
    if result.status == ExecStatus.FATAL_ERROR:
        error = _theirs(_error_of(connection, result))
        code = "unknown_column" if error.sqlstate == _UNDEFINED_COLUMN else "bad_where"
        code = "bad_params" if error.sqlstate in _PARAMETER_ERRORS else code
        raise SyncError(code, _told(error, where, offset)) from error
    [described] = await connection.wait(_describe(connection.pgconn))
    if described.status == ExecStatus.FATAL_ERROR:
        raise _error_of(connection, described)
    if described.nparams != count:
        raise SyncError(
            "bad_params", f"the condition has {described.nparams} parameters, {count} were given"
        )
    return [_parameter_type(described.param_type(i)) for i in range(count)]


def _parameter_type(oid: int) -> ParameterType:
    if kind := KIND_BY_ARRAY_OID.get(oid):
        return ParameterType(kind, is_array=True)
    return ParameterType(KIND_BY_OID.get(oid))


async def column_types(connection: Connection, oid: int) -> dict[str, ColumnType]:
    """Look up the columns of a table as conditions see them."""
    cursor = await connection.execute(query("condition"), {"oid": oid})
    return {row["name"]: _column_type(row) for row in await cursor.fetchall()}


def _column_type(row: dict[str, Any]) -> ColumnType:
    special = {"e": Kind.ENUM, "c": Kind.COMPOSITE}.get(row["type_kind"])
    return ColumnType(
        kind=special or KIND_BY_OID.get(row["base_oid"], Kind.OTHER),
        oid=row["oid"],
        schema=row["type_schema"],
        name=row["type_name"],
        labels=tuple(row["labels"]),
        is_deterministic=row["is_deterministic"],
        is_bytewise=row["is_bytewise"],
    )


async def _ask(connection: Connection, questions: Sequence[Question]) -> Answers:
    """Let PostgreSQL cast all constants: those of equal types in one query, arrays one by one."""
    answers: dict[Question, tuple[bytes | None, ...]] = {}
    unique = sorted(set(questions), key=lambda q: repr(q[1:]))
    for (_, _, _, is_array, is_parameter), group in groupby(unique, key=lambda q: q[1:]):
        asked = list(group)
        for some in [[each] for each in asked] if is_array else [asked]:
            try:
                texts = await _cast(connection, some)
            except psycopg.Error as error:
                code = "bad_params" if is_parameter else "bad_where"
                raise SyncError(code, _told(_theirs(error), "", 0)) from error
            told = [texts] if is_array else [(text,) for text in texts]
            answers.update(zip(some, told, strict=True))
    return answers


async def _cast(connection: Connection, questions: list[Question]) -> tuple[bytes | None, ...]:
    through, target = questions[0].through, type_sql(questions[0].target)
    types = [kind_sql(kind) for kind in through] or [target]
    value: sql.Composable = sql.SQL("g.v")
    for type in types:
        value = sql.SQL("CAST({} AS {})").format(value, type)
    array = sql.SQL("%s::text[]").format()
    if questions[0].is_array:
        array = sql.SQL("CAST(%s::text AS {}[])").format(types[0])
    statement = sql.SQL(
        "SELECT CASE WHEN g.v IS NOT NULL THEN format('%%s', {result}) END AS text,"
        " CAST({result} AS {last}) IS NOT DISTINCT FROM {value} AS is_same"
        " FROM unnest({array}) WITH ORDINALITY AS g (v, n) ORDER BY g.n"
    ).format(
        value=value,
        result=sql.SQL("CAST({} AS {})").format(value, target),
        last=types[-1],
        array=array,
    )
    given = questions[0].text if questions[0].is_array else [q.text for q in questions]
    cursor = await connection.execute(statement, [given])
    rows = await cursor.fetchall()
    if questions[0].is_exact and not all(row["is_same"] for row in rows):
        raise SyncError(
            "unsupported_where",
            f"a constant is no value of type {questions[0].target.name}: "
            f"write one that is, or cast it to {questions[0].target.name}",
        )
    return tuple(None if row["text"] is None else row["text"].encode() for row in rows)


async def _compare_readings(
    connection: Connection, table: _Table, where: str, written: Node, values: Sequence[str | None]
) -> None:
    """Make sure that PostgreSQL and we have read the same.

    The names of columns, their operators and their constants: all that a plan prints.
    """
    ours = written_sql(written).as_string(connection)
    before = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT (\n"
    after = _from(connection, table, sql.SQL("\n) FROM {table} WHERE false"))
    params = [None if value is None else value.encode() for value in values]
    statement = f"{before}{where}\n), (\n{ours}{after}"
    [result] = await connection.wait(_execute(connection.pgconn, statement, params))
    if result.status == ExecStatus.FATAL_ERROR:
        error = _theirs(_error_of(connection, result))
        code = "bad_params" if "parameter $" in (error.diag.context or "") else "bad_where"
        raise SyncError(code, _told(error, where, len(before))) from error
    plan = msgspec.json.decode(result.get_value(0, 0) or b"")[0]["Plan"]
    if len(plan["Output"]) != 2 or plan["Output"][0] != plan["Output"][1]:
        raise SyncError(
            "unsupported_where",
            f"PostgreSQL reads the condition as {plan['Output'][0]}, and we do not: "
            "write it with more parentheses, and names in quotes",
        )


def _parse_only(connection: PGconn, statement: str) -> PQGen[list[PGresult]]:
    connection.send_prepare(b"", statement.encode())
    results: list[PGresult] = yield from generators.execute(connection)
    return results


def _describe(connection: PGconn) -> PQGen[list[PGresult]]:
    connection.send_describe_prepared(b"")
    results: list[PGresult] = yield from generators.execute(connection)
    return results


def _execute(
    connection: PGconn, statement: str, params: Sequence[bytes | None]
) -> PQGen[list[PGresult]]:
    # The extended protocol, with or without parameters: one statement, whatever its text.
    connection.send_query_params(statement.encode(), params)
    results: list[PGresult] = yield from generators.execute(connection)
    return results


def _error_of(connection: Connection, result: PGresult) -> psycopg.Error:
    return psycopg.errors.error_from_result(result, connection.info.encoding)


def _theirs(error: psycopg.Error) -> psycopg.Error:
    """Return an error that speaks of the condition, and raise all others."""
    if not (error.sqlstate or "").startswith(_THEIRS):
        raise error
    return error


def _told(error: psycopg.Error, where: str, offset: int) -> str:
    """Tell PostgreSQL's message, with the place in the user's text."""
    told = error.diag.message_primary or type(error).__name__
    if len(told) > _MESSAGE_CHARS:
        told = f"{told[: _MESSAGE_CHARS // 2]}...{told[-_MESSAGE_CHARS // 2 :]}"
    if error.diag.statement_position:
        place = int(error.diag.statement_position) - offset
        told += f", at character {place}" if place <= len(where) else ", at the end"
    return f"{told}; {error.diag.message_hint}" if error.diag.message_hint else told
