"""Goal: what is compiled for a version of a table is made once, shared, and goes when unused.

Method: identity shows what was shared; effects as values, their JSON read back.
"""

from __future__ import annotations

import gc
import json
import weakref

import msgspec
import pytest

from engine.tests.core.shape.conditions import above, among
from engine.tests.core.wal.tables import table
from tidewire.core.lens import Lens, Scene
from tidewire.core.model.change import UNCHANGED
from tidewire.core.model.relation import Identity, JsonForm
from tidewire.core.shape.effect import Alter, Clear, Effect, Enter, Leave, Rekey
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.layout import Places
from tidewire.core.shape.shape import ShapeColumn, ShapeSpec

NAMES = ("id", "tenant", "note")
FORMS = (JsonForm.NUMBER, JsonForm.NUMBER, JsonForm.TEXT)
FULL = table(*FORMS, names=NAMES, identity=Identity.FULL)
DEFAULT = table(*FORMS, names=NAMES)
SPEC = ShapeSpec(
    1, "public", "t", (ShapeColumn("note", "text"), ShapeColumn("id", "int4")), ("id",)
)
PLACES = Places((2, 0), (0,), ())


@pytest.mark.parametrize(
    ("effect", "change"),
    [
        (Enter((b"x", b"1", b"1")), ["i", ["x", 1]]),
        (Enter((None, b"1", b"1")), ["i", [None, 1]]),
        (Alter(None, (b"x", b"1", b"1")), ["u", [1], {"note": "x", "id": 1}]),
        (Alter(None, (UNCHANGED, b"1", b"1")), ["u", [1], {"id": 1}]),
        (Alter((b"y", b"1", b"1"), (b"x", b"1", b"1")), ["u", [1], {"note": "x"}]),
        (
            Rekey((None, b"1", b"1"), (b"x", b"2", b"2"), False),
            ["k", [1], [2], {"note": "x", "id": 2}],
        ),
        (Rekey((b"x", b"1", b"1"), (b"x", b"2", b"2"), True), ["k", [1], [2], {"id": 2}]),
        (Leave((None, b"1", b"1")), ["d", [1]]),
        (Clear(), ["t"]),
    ],
)
def test_each_effect_is_written_as_the_wire_wants_it(effect: Effect, change: list[object]) -> None:
    written = Lens(FULL).view(PLACES).render(effect)
    assert written is not None
    assert json.loads(written) == change


@pytest.mark.parametrize(
    "effect",
    [
        Alter((b"x", b"1", b"1"), (b"x", b"1", b"1")),
        Alter(None, (UNCHANGED, UNCHANGED, b"1")),
    ],
)
def test_an_update_that_changes_nothing_shown_is_not_written(effect: Effect) -> None:
    assert Lens(FULL).view(PLACES).render(effect) is None


def test_a_key_alone_can_be_picked() -> None:
    view = Lens(FULL).view(Places((), (1,), ()))
    assert view.aspect.pick((b"1", b"7", None)) == (b"7",)
    assert view.render(Leave((b"7",))) == b'["d",[7]]'


def test_shapes_with_the_same_columns_share_their_view_whatever_their_conditions() -> None:
    index = ShapeIndex()
    for where in (None, among("tenant", "1"), above("id", 4)):
        index.acquire(msgspec.structs.replace(SPEC, where=where))
    lens = Lens(FULL)
    scene = Scene(lens, index.tables[1])
    (view, *others) = (view for _, view in scene.fits.values())
    assert len(others) == 2
    assert all(other is view for other in others)
    assert [shown for _, shown in scene.whole] == [view]


def test_a_view_goes_with_the_last_that_looks_through_it() -> None:
    lens = Lens(FULL)
    view = lens.view(PLACES)
    assert lens.view(PLACES) is view
    gone = weakref.ref(view)
    del view
    gc.collect()
    assert gone() is None


def test_a_scene_stays_when_only_values_come_and_go() -> None:
    index = ShapeIndex()
    first = index.acquire(msgspec.structs.replace(SPEC, where=among("tenant", "1")))
    table = index.tables[1]
    scene = Scene(Lens(FULL), table)
    index.acquire(msgspec.structs.replace(SPEC, where=among("tenant", "2")))
    index.release(first)
    assert scene.is_of(table)
    index.acquire(SPEC)
    assert not scene.is_of(table)
    assert not Scene(Lens(FULL), table).is_of(ShapeIndex().tables.get(1, type(table)()))


def test_a_scene_names_the_layouts_that_do_not_fit() -> None:
    index = ShapeIndex()
    index.acquire(msgspec.structs.replace(SPEC, where=among("tenant", "1")))
    index.acquire(SPEC)
    scene = Scene(Lens(DEFAULT), index.tables[1])
    assert [layout.is_filter for layout in scene.misfits] == [True]
    assert [layout.is_filter for layout in scene.fits] == [False]
