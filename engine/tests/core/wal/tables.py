"""Relations, rows and what they are in Python, plain and by chance, for the tests of `core`.

Method: a value is drawn as PostgreSQL would print it, together with what a reader of the JSON has
to see; so expectations do not come out of the code that is tested.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tidewire.core.model.change import Cell
from tidewire.core.model.relation import Column, Identity, JsonForm, Relation

# A slow machine is no failure; a failure prints the line that replays it.
chance = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])

OIDS = {
    JsonForm.TEXT: 25,
    JsonForm.NUMBER: 23,
    JsonForm.FLOAT: 701,
    JsonForm.BOOL: 16,
    JsonForm.JSON: 3802,
}


def table(
    *forms: JsonForm,
    names: Sequence[str] = (),
    key: Sequence[int] = (0,),
    identity: Identity = Identity.DEFAULT,
    oid: int = 1,
) -> Relation:
    """Make a relation `public.t` with one column of each form; those of `key` are its identity."""
    is_full = identity is Identity.FULL
    columns = tuple(
        Column(names[i] if names else f"c{i}", OIDS[form], -1, is_full or i in key, form)
        for i, form in enumerate(forms)
    )
    return Relation(oid, "public", "t", identity, columns)


class Value(NamedTuple):
    """A cell and what it is once its JSON has been read."""

    cell: bytes | None
    python: object


NULL = Value(None, None)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def _float(number: float) -> Value:
    if math.isnan(number):
        return Value(b"NaN", "NaN")
    if math.isinf(number):
        text = "Infinity" if number > 0 else "-Infinity"
        return Value(text.encode(), text)
    return Value(repr(number).encode(), number)


def _document(python: object, is_ascii: bool) -> Value:
    return Value(json.dumps(python, ensure_ascii=is_ascii).encode(), python)


VALUES = {
    JsonForm.TEXT: st.text().map(lambda text: Value(text.encode(), text)),
    JsonForm.NUMBER: st.integers(-(2**31), 2**31 - 1).map(lambda n: Value(b"%d" % n, n)),
    JsonForm.FLOAT: st.floats().map(_float),
    JsonForm.BOOL: st.sampled_from([Value(b"t", True), Value(b"f", False)]),
    JsonForm.JSON: st.builds(_document, _json, st.booleans()),
}


class Sample(NamedTuple):
    """A relation, a choice of its columns, and a row of it."""

    relation: Relation
    columns: tuple[int, ...]
    row: tuple[Value, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(value.cell for value in self.row)

    @property
    def expected(self) -> list[object]:
        return [self.row[i].python for i in self.columns]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Draw a relation of up to eight columns with a row and some of its columns in any order."""
    forms = draw(st.lists(st.sampled_from(JsonForm), max_size=8))
    row = tuple(draw(st.just(NULL) | VALUES[form]) for form in forms)
    numbers = st.sampled_from(range(len(forms))) if forms else st.nothing()
    columns = tuple(draw(st.lists(numbers, unique=True))) if forms else ()
    return Sample(table(*forms), columns, row)
