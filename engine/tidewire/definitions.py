"""What followed tables are, and the shapes that end when a table becomes another one.

DDL is not in the stream, so the catalog is asked: when somebody comes to a table that is not known,
when the stream begins, and every few seconds while somebody follows tables. One rule: nobody joins
whose shape does not fit the definition that later ones are compared with, so nothing that happens
to a table can fall between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from typing import Protocol

from tidewire import limits
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.shape.definition import Definition, find_fault, find_unfit
from tidewire.core.shape.fingerprint import fingerprint, is_of
from tidewire.core.shape.layout import Layout
from tidewire.core.shape.shape import ShapeId, ShapeSpec
from tidewire.errors import DatabaseError, DatabaseGone

_log = logging.getLogger("tidewire.definitions")
# Each time the table was another one than a moment before.
_ATTEMPTS = 5


class Catalog(Protocol):
    """What the database knows of tables (`postgres.catalog.Catalog`)."""

    async def resolve(self, request: frames.ShapeRequest) -> tuple[ShapeSpec, Lsn, bool]:
        """Look up what a client asks for; the last tells that the table is published only now."""
        ...

    async def definitions(self, oids: Collection[int]) -> dict[int, Definition]:
        """Read the definitions of those tables that are there, by oid."""
        ...

    def forget(self, oid: int) -> None:
        """Note that a table is not published any more, or is gone."""
        ...


class Definitions:
    """Know what tables are, and end shapes that do not fit their table any more."""

    def __init__(self, hub: Hub, catalog: Catalog) -> None:
        self._hub = hub
        self._catalog = catalog
        self._known: dict[int, Definition] = {}
        """Also of tables that were followed once: clients may come back to them."""
        self._fresh: set[int] = set()
        """Tables that were read since somebody follows any: only while somebody does, all are."""
        self._changes = 0
        """How often a definition was another one than before."""
        self._changed: dict[int, int] = {}
        """The last of these changes, by table."""
        self._reading = asyncio.Lock()
        self._is_due = asyncio.Event()

    def look_soon(self) -> None:
        """Look at all tables without waiting for the next turn."""
        self._is_due.set()

    async def watch(self) -> None:
        """Look at all tables, again and again, while somebody follows any."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.SCHEMA_POLL_S):
                    await self._is_due.wait()
            self._is_due.clear()
            if not self._hub.index.tables:
                self._fresh.clear()
                continue
            try:
                async with self._reading:
                    await self._read(list(self._known))
            except DatabaseError as error:
                _log.debug("definitions: %s", error)  # the next turn is another chance

    async def resolve(self, request: frames.ShapeRequest) -> tuple[ShapeSpec, Lsn, bool]:
        """Look up what a client asks for, and know the definition that it fits.

        Raises what the catalog raises, and DatabaseGone when the table does not come to rest.
        """
        is_new = False
        for _ in range(_ATTEMPTS):
            changes = self._changes
            spec, position, is_new_now = await self._catalog.resolve(request)
            is_new |= is_new_now
            await self._look_for(spec, again=is_new_now)
            # A condition is bound to labels, which definitions have in another form.
            is_bound = spec.where is None or self._changed.get(spec.relation_oid, 0) <= changes
            if is_bound and self._fits(spec):
                return spec, position, is_new
        raise DatabaseGone(f"{request.table} is altered all the time")

    def fingerprint(self, spec: ShapeSpec) -> str:
        """Return what a client has to show when it comes back; "" of a table that is gone."""
        known = self._known.get(spec.relation_oid)
        return fingerprint(Layout(spec), known) if known else ""

    def is_altered(self, request: frames.ShapeRequest, spec: ShapeSpec) -> bool:
        """Tell whether the table is another one than the client's rows fit, as far as it shows."""
        known = self._known.get(spec.relation_oid)
        return known is None or not is_of(request.fingerprint, Layout(spec), known)

    async def _look_for(self, spec: ShapeSpec, *, again: bool) -> None:
        async with self._reading:
            # What does not fit may be newer: a row tells of an alteration, too.
            if again or not self._fits(spec):
                await self._read([spec.relation_oid])

    def _fits(self, spec: ShapeSpec) -> bool:
        """Tell whether a shape fits what is known of its table."""
        known = self._known.get(spec.relation_oid)
        if known is None or spec.relation_oid not in self._fresh:
            return False
        is_called_so = spec.qualified_name == known.qualified_name
        return is_called_so and not find_fault(Layout(spec), known, known)

    async def _read(self, oids: Collection[int]) -> None:
        found = await self._catalog.definitions(oids)
        self._fresh.update(found)
        for oid in oids:
            self._compare(oid, found.get(oid))

    def _compare(self, oid: int, new: Definition | None) -> None:
        """Take a definition, and end the shapes that do not fit it."""
        old = self._known.pop(oid, None)
        if old != new:
            self._changes += 1
            self._changed[oid] = self._changes
        if new is None:
            self._catalog.forget(oid)
            self._end(
                oid, {shape.id: "it was dropped" for shape in self._hub.index.touched_by(oid)}
            )
            return
        self._known[oid] = new
        if new.publication is None or (old and old.publication not in (None, new.publication)):
            self._catalog.forget(oid)  # who comes next has to publish it, and to wait
        table = self._hub.index.tables.get(oid)
        unfit = find_unfit(table, old or new, new) if table else {}
        if unfit or (old and find_fault(old.layout, old, new)):
            self._end(oid, unfit)

    def _end(self, oid: int, unfit: dict[ShapeId, str]) -> None:
        if unfit:
            name = self._hub.index.touched_by(oid)[0].spec.qualified_name
            reasons = "; ".join(sorted(set(unfit.values())))
            _log.info("%s: %d shapes start over: %s", name, len(unfit), reasons)
        self._hub.alter(oid, unfit)
