"""What clients ask for becomes shapes: look the table up, wait for the log, join.

A newcomer begins at the position that the database had when its table was looked up: not somewhere
in a log that is being read again, and behind every transaction that was half done when the table
was published.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol, TypeAlias

import msgspec

from tidewire.core.hub import Hub
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeSpec
from tidewire.errors import DatabaseError, SyncError

_log = logging.getLogger("tidewire.subscriptions")

Resolved: TypeAlias = tuple[ShapeSpec, Lsn, bool]
Resolve: TypeAlias = Callable[[frames.ShapeRequest], Awaitable[Resolved]]
Start: TypeAlias = Callable[[Coroutine[None, None, None]], None]


class LookUps:
    """Look tables up, once for all who ask the same: after an outage thousands do.

    Who asks while a look-up is under way shares the next one, never this one: the table, or the end
    of the log, may have been another when this one began.
    """

    def __init__(self, resolve: Resolve, start: Start) -> None:
        self._resolve = resolve
        self._start = start
        self._next: dict[bytes, asyncio.Future[Resolved]] = {}
        """Answers that somebody waits for and nobody has asked the database for."""
        self._under_way: set[bytes] = set()

    async def find(self, request: frames.ShapeRequest) -> Resolved:
        """Return what the catalog says of a request; raises what it raises."""
        asked = msgspec.structs.replace(
            request, id="", initial=True, start=None, fingerprint="", resume=None
        )
        what = msgspec.json.encode(asked)
        if what not in self._next:
            self._next[what] = asyncio.get_running_loop().create_future()
            if what not in self._under_way:
                self._under_way.add(what)
                self._start(self._look_up(what, request))
        answer = self._next[what]
        await asyncio.wait([answer])  # unlike `await answer` it lets who is cancelled go alone
        return answer.result()

    async def _look_up(self, what: bytes, request: frames.ShapeRequest) -> None:
        """Ask the database, again and again while somebody has asked us meanwhile."""
        try:
            while answer := self._next.pop(what, None):
                try:
                    answer.set_result(await self._resolve(request))
                except (SyncError, TimeoutError, DatabaseError) as error:
                    answer.set_exception(error)
        finally:
            self._under_way.discard(what)


class Tables(Protocol):
    """What is known of tables (`definitions.Definitions`)."""

    async def resolve(self, request: frames.ShapeRequest) -> Resolved:
        """Look a table up; also where the log ended then, and whether it is streamed only since."""
        ...

    def fingerprint(self, spec: ShapeSpec) -> str:
        """Return what a client has to show when it comes back to a shape."""
        ...

    def is_altered(self, request: frames.ShapeRequest, spec: ShapeSpec) -> bool:
        """Tell whether the table is another one than the client's rows fit."""
        ...


class Subscriptions:
    """Answer the subscriptions of all sessions of a node.

    `reach` waits until the log has come to a position, `start` runs a task.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        tables: Tables,
        reach: Callable[[Lsn], Awaitable[None]],
        start: Start,
    ) -> None:
        self._hub = hub
        self._tables = tables
        self._look_ups = LookUps(tables.resolve, start)
        self._reach = reach
        self._going_on: dict[ServerSession, asyncio.Event] = {}
        """Sessions of which it is not clear yet where they go on, and who waits for that."""

    async def answer(self, session: ServerSession, asked: Sequence[frames.ShapeRequest]) -> None:
        """Refuse what cannot be, and let the others join together.

        A session has one cursor: what begins in the present, and was asked for behind shapes that
        go on from an earlier position, joins behind them.
        """
        before = self._going_on.get(session)
        if before is None and any(request.start for request in asked):
            is_clear = self._going_on[session] = asyncio.Event()
            try:
                await self._answer(session, asked, None)
            finally:
                del self._going_on[session]
                is_clear.set()
        else:
            await self._answer(session, asked, before)

    async def _answer(
        self,
        session: ServerSession,
        asked: Sequence[frames.ShapeRequest],
        before: asyncio.Event | None,
    ) -> None:
        resolved: list[tuple[frames.ShapeRequest, ShapeSpec]] = []
        fresh: set[str] = set()
        for request in asked:
            if session.pending.get(request.id) is not request:
                continue  # given up, or gone
            try:
                spec, is_new = await self._resolve_one(request)
                resolved.append((request, spec))
                if is_new:
                    fresh.add(request.id)
            except SyncError as error:
                self._hub.refuse(session, request, error.code, error.text)
            except TimeoutError:
                text = "the log is not as far as the database; try again later"
                self._hub.refuse(session, request, "unavailable", text)
            except DatabaseError as error:
                _log.warning("cannot look up a table: %s", error, extra={"connection": session.id})
                text = "the database cannot be asked now; try again later"
                self._hub.refuse(session, request, "unavailable", text)
        if before is not None and any(not each.initial or each.start for each, _ in resolved):
            await before.wait()
        # In one step: what is known of a table now is what its later definitions are compared with.
        tables = self._tables
        self._hub.join(
            session,
            resolved,
            fresh=fresh,
            altered={each.id for each, spec in resolved if tables.is_altered(each, spec)},
            fingerprints={each.id: tables.fingerprint(spec) for each, spec in resolved},
        )

    async def _resolve_one(self, request: frames.ShapeRequest) -> tuple[ShapeSpec, bool]:
        spec, position, is_new = await self._look_ups.find(request)
        # A copy has its own way to meet the log; who takes no rows begins behind the present.
        if not request.initial and (request.start is None or is_new):
            await self._reach(position)
        return spec, is_new
