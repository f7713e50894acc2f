"""One version of a relation as shapes see it: what makes JSON of its rows.

All of it is compiled once for each choice of columns and shared by all shapes with that choice,
whatever their conditions are. Nothing here depends on how many shapes there are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from operator import itemgetter
from typing import assert_never
from weakref import WeakValueDictionary

import msgspec

from tidewire.core.model.change import Row
from tidewire.core.model.relation import Relation
from tidewire.core.shape.effect import Alter, Aspect, Clear, Effect, Enter, Leave, Rekey
from tidewire.core.shape.index import TableShapes
from tidewire.core.shape.layout import Layout, Places
from tidewire.core.wal.decoder import RowDecoder
from tidewire.core.wal.transcoder import Transcode, compile_insert
from tidewire.core.wal.values import RowRenderer


class View:
    """How all shapes with the same columns and key see one version of a relation."""

    def __init__(self, relation: Relation, columns: tuple[int, ...], key: tuple[int, ...]) -> None:
        shown = columns + key
        picked = msgspec.structs.replace(
            relation, columns=tuple(relation.columns[i] for i in shown)
        )
        places, key_at = tuple(range(len(shown))), len(columns)
        self.aspect = Aspect(_picker(shown), key_at)
        self._renderer = RowRenderer(picked, places[:key_at], places[key_at:])
        self._relation, self._columns = relation, columns

    @cached_property
    def insert(self) -> Transcode:
        """What makes a JSON row of an insert that nobody needs to decode."""
        return compile_insert(self._relation, self._columns)

    def render(self, effect: Effect) -> bytes | None:
        """Write one effect as the wire wants it; None when it changes nothing that is shown."""
        return encode_effect(effect, self._renderer)


def _picker(places: tuple[int, ...]) -> Callable[[Row], Row]:
    if len(places) == 1:
        (only,) = places
        return lambda row: (row[only],)
    return itemgetter(*places)


def encode_effect(effect: Effect, renderer: RowRenderer) -> bytes | None:
    """Write `["i", row]`, `["u", key, columns]`, ...; None when no column of an update changed."""
    match effect:
        case Enter(new=new):
            return b'["i",%b]' % renderer.row(new)
        case Alter(old=old, new=new):
            changed = renderer.changed(old, new)
            return None if changed == b"{}" else b'["u",%b,%b]' % (renderer.key(new), changed)
        case Leave(old=old):
            return b'["d",%b]' % renderer.key(old)
        case Rekey(old=old, new=new, old_is_whole=whole):
            changed = renderer.changed(old if whole else None, new)
            return b'["k",%b,%b,%b]' % (renderer.key(old), renderer.key(new), changed)
        case Clear():
            return b'["t"]'
        case _:
            assert_never(effect)


class Lens:
    """One version of a relation, with what its rows need to be seen."""

    def __init__(self, relation: Relation) -> None:
        self.relation = relation
        self.places = {column.name: i for i, column in enumerate(relation.columns)}
        self.decode = RowDecoder(relation).decode
        self.scene: Scene | None = None
        """What all shapes of the node see."""
        self._views: WeakValueDictionary[tuple[tuple[int, ...], tuple[int, ...]], View]
        self._views = WeakValueDictionary()

    def view(self, places: Places) -> View:
        """Return the view of these columns; it lives as long as somebody looks through it."""
        at = (places.columns, places.key)
        view = self._views.get(at)
        if view is None:
            view = self._views[at] = View(self.relation, *at)
        return view


class Scene:
    """One version of a relation as some shapes see it; it knows layouts, hence nothing of values.

    So shapes may come and go, and it stays, as long as no shape comes that needs other columns.
    """

    __slots__ = ("_changed", "fits", "lens", "misfits", "table", "whole")

    def __init__(self, lens: Lens, table: TableShapes) -> None:
        self.lens = lens
        self.table = table
        self._changed = table.layouts_changed
        self.fits: dict[Layout, tuple[Places, View]] = {}
        self.whole: list[tuple[Layout, View]] = []
        """The shapes without a condition."""
        self.misfits: list[Layout] = []
        for layout in table.by_layout:
            places = layout.fit(lens.relation)
            if places is None:
                self.misfits.append(layout)
                continue
            self.fits[layout] = places, lens.view(places)
            if not layout.is_filter:
                self.whole.append((layout, lens.view(places)))

    def is_of(self, table: TableShapes) -> bool:
        """Tell whether it still shows this table."""
        return self.table is table and self._changed == table.layouts_changed
