"""Goal: a shape is followed over exactly those versions of its table that carry what it needs.

Method: versions that differ from a sound one in one fact.
"""

from __future__ import annotations

import msgspec
import pytest

from engine.tests.core.shape.conditions import TEXT, above, among, among_and_above
from engine.tests.core.wal.tables import table
from tidewire.core.model.relation import Identity, JsonForm, Relation
from tidewire.core.shape.layout import Layout, Places
from tidewire.core.shape.predicate import Predicate
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec

NAMES = ("id", "tenant", "note")
FORMS = (JsonForm.NUMBER, JsonForm.NUMBER, JsonForm.TEXT)
PLAIN = table(*FORMS, names=NAMES)
PAIR = table(*FORMS, names=NAMES, key=(0, 1))
FULL = table(*FORMS, names=NAMES, identity=Identity.FULL)
BARE = table(*FORMS, names=NAMES, key=(), identity=Identity.NOTHING)
MOVED = table(*FORMS[::-1], names=NAMES[::-1], key=(2,))


def layout(
    where: Predicate | None = None,
    columns: tuple[tuple[str, int], ...] = (("note", 25), ("id", 0)),
    key: tuple[str, ...] = ("id",),
) -> Layout:
    shown = tuple(ShapeColumn(name, "any", oid) for name, oid in columns)
    return Layout(ShapeSpec(1, "public", "t", shown, key, where=where))


TENANT = among("tenant", "1")


@pytest.mark.parametrize(
    ("made", "relation", "places"),
    [
        (layout(), PLAIN, Places((2, 0), (0,), ())),
        (layout(), MOVED, Places((0, 2), (2,), ())),
        (layout(columns=()), PLAIN, Places((), (0,), ())),
        (layout(key=("tenant", "id")), PAIR, Places((2, 0), (1, 0), ())),
        (layout(key=("note",)), FULL, Places((2, 0), (2,), ())),
        (layout(above("id", 1)), PLAIN, Places((2, 0), (0,), (0,))),
        (layout(TENANT), PAIR, Places((2, 0), (0,), (1,))),
        (layout(TENANT), FULL, Places((2, 0), (0,), (1,))),
        (layout(among_and_above("tenant", ("1",), "id", 4)), FULL, Places((2, 0), (0,), (0, 1))),
    ],
)
def test_a_version_that_has_all_tells_where(
    made: Layout, relation: Relation, places: Places
) -> None:
    assert made.fit(relation) == places


RENAMED = msgspec.structs.replace(
    FULL, columns=(FULL.columns[0], msgspec.structs.replace(FULL.columns[1], name="other"))
)


@pytest.mark.parametrize(
    ("made", "relation"),
    [
        (layout(columns=(("gone", 0),)), PLAIN),
        (layout(columns=(("id", 20),)), PLAIN),
        (layout(key=("gone",)), FULL),
        (layout(key=("tenant",)), PLAIN),
        (layout(key=()), PLAIN),
        (layout(), BARE),
        (layout(TENANT), PLAIN),
        (layout(TENANT, columns=()), RENAMED),
        (layout(among("tenant", "1", type=TEXT)), FULL),
    ],
    ids=[
        "column is gone",
        "column has another type",
        "key is gone",
        "key is not in the identity",
        "there is no key",
        "nothing is in the identity",
        "condition looks at what the old row does not tell",
        "column of the condition is gone",
        "column of the condition has another type",
    ],
)
def test_a_version_that_lacks_something_does_not_fit(made: Layout, relation: Relation) -> None:
    assert made.fit(relation) is None


def test_a_layout_knows_whether_it_has_a_condition() -> None:
    assert (layout().is_filter, layout(TENANT).is_filter) == (False, True)
