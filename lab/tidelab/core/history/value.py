"""One writing for each value, whoever wrote it.

The one rule: values are compared as text, and PostgreSQL's own text is the measure. Where a
protocol carries native JSON (booleans, numbers, documents) a value has several writings; both sides
then go through `canonical`, so that equal means equal.
"""

from __future__ import annotations

import json

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

FLOATS = frozenset({"float4", "float8"})
DOCUMENTS = frozenset({"json", "jsonb"})


def canonical(type: str, text: str | None) -> str | None:
    """Return the one writing of a value that PostgreSQL printed; most types have only one."""
    if text is None:
        return None
    if type in FLOATS:
        return repr(float(text))
    return _document(json.loads(text)) if type in DOCUMENTS else text


def text_of(type: str, value: JsonValue) -> str | None:
    """Return the one writing of a value that came as JSON; None is NULL.

    A JSON null inside a column of documents cannot be told from NULL by most protocols, so it is
    taken for NULL: a test must not tell them apart.
    """
    if value is None:
        return None
    if type in DOCUMENTS:
        return _document(value)
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, list | dict):
        return _document(value)
    return canonical(type, str(value))


def _document(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
