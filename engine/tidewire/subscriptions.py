"""What clients ask for becomes shapes: look the table up, wait for the log, join.

A newcomer begins at the position that the database had when its table was looked up: not somewhere
in a log that is being read again, and behind every transaction that was half done when the table
was published.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from tidewire.core.hub import Hub
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeSpec
from tidewire.errors import DatabaseError, SyncError

_log = logging.getLogger("tidewire.subscriptions")


class Subscriptions:
    """Answer the subscriptions of all sessions of a node.

    `resolve` looks a table up; it also tells where the log ended then, and whether the table is
    streamed only since. `reach` waits until the log has come to a position.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        resolve: Callable[[frames.ShapeRequest], Awaitable[tuple[ShapeSpec, Lsn, bool]]],
        reach: Callable[[Lsn], Awaitable[None]],
    ) -> None:
        self._hub = hub
        self._resolve = resolve
        self._reach = reach

    async def answer(self, session: ServerSession, asked: Sequence[frames.ShapeRequest]) -> None:
        """Refuse what cannot be, and let the others join together."""
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
        self._hub.join(session, resolved, fresh=fresh)

    async def _resolve_one(self, request: frames.ShapeRequest) -> tuple[ShapeSpec, bool]:
        spec, position, is_new = await self._resolve(request)
        # A copy has its own way to meet the log; who takes no rows begins behind the present.
        if not request.initial and (request.start is None or is_new):
            await self._reach(position)
        return spec, is_new
