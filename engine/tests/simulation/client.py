"""A client of the simulation: the real session and store, and what they must show at each position.

Method: after each message every live table of the store is held against the truth at the session's
cursor (`judge`). A subscription without `initial` has no rows of its own; here it is given those of
the position at which it began, so that each commit that it is told of, or is not, shows. What it
writes down now and then is judged when it dies, and rises from it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from engine.tests.core.bench import Peer
from engine.tests.core.paper import Paper
from engine.tests.simulation.postgres import Postgres
from engine.tests.simulation.tables import VIEWS, Shown
from tidewire.core.protocol import frames
from tidewire.core.protocol.events import Event, Joined, Refused, WasReset
from tidewire.core.saved import Unsaved
from tidewire.core.session.client import ClientSession
from tidewire.core.session.client import State as ClientState
from tidewire.core.store import Store, Table
from tidewire.core.stream.cursor import Cursor

_COUNTED = (b'{"type":"commit"', b'{"type":"snapshot"')
_RESET = b'{"type":"reset"'


@dataclass(slots=True)
class Asked:
    """Subscriptions of one message, of which the catalog has to find the tables."""

    requests: list[frames.ShapeRequest]
    fresh: list[str] = field(default_factory=list)
    """Those whose table is published only since now."""
    new_table: int | None = None
    position: int | None = None
    """Where the database was when it was asked: who takes no rows begins behind that."""


@dataclass(slots=True)
class Link:
    """One connection: frames that are under way, and what the server's end waits for."""

    peer: Peer
    inbound: deque[tuple[bytes, int]] = field(default_factory=deque)
    """To the client, each with the progress of the node when it was written."""
    outbound: deque[bytes] = field(default_factory=deque)
    asked: deque[Asked] = field(default_factory=deque)
    is_blocked: bool = False
    begins: dict[str, int] = field(default_factory=dict)
    """Where subscriptions that take no rows begin."""
    sizes: deque[int] = field(default_factory=deque)
    """Bytes of each counted message that the server has not seen acknowledged."""
    unacknowledged: int = 0
    acknowledged: int = 0

    def write(self, payload: bytes, progress: int) -> None:
        self.inbound.append((payload, progress))
        if payload.startswith(_COUNTED):
            self.sizes.append(len(payload))
            self.unacknowledged += len(payload)

    def acknowledge(self, count: int) -> None:
        while self.acknowledged < count:
            self.unacknowledged -= self.sizes.popleft()
            self.acknowledged += 1


@dataclass(slots=True)
class Follow:
    """One subscription."""

    view: int
    initial: bool
    table: Table
    floor: int = 0
    """Without `initial`: where it began."""
    epoch: str = ""
    """The history that this position belongs to."""


class Client:
    """An application with its subscriptions."""

    def __init__(self, name: str, postgres: Postgres) -> None:
        self.name = name
        self.session = ClientSession(name)
        self.store = Store()
        self.follows: dict[str, Follow] = {}
        self.refused: list[str] = []
        self.link: Link | None = None
        self.resets = 0
        self.unsaved, self.paper = Unsaved(), Paper()
        self._postgres = postgres
        self._before: Cursor | None = None

    # --- what the application does ---

    def connect(self, peer: Peer) -> None:
        self.link = Link(peer)
        self.refused.clear()
        self.session.connect()
        self.send()

    def disconnect(self) -> None:
        self.link = None
        self.session.disconnect()
        for follow in self.follows.values():
            if self.session.cursor is None and not follow.initial:
                follow.table.is_live = False  # it has no position to go on from, and begins anew

    def write_down(self) -> None:
        self.paper.write(self.unsaved.take())

    def rise(self) -> Client:
        """Be killed, and start again with what was written down."""
        again = Client(self.name, self._postgres)
        again.paper = self.paper
        if (saved := self.paper.read()) is not None:
            for entry, table in saved.tables:
                id = entry.request.id
                again.store.restore(id, table)
                again.follows[id] = Follow(int(entry.request.table), initial=True, table=table)
            again.unsaved.restore(saved)
            again.session.go_on(saved.cursor, [entry.continued() for entry, _ in saved.tables])
            again.judge()
        return again

    def subscribe(self, asked: dict[str, tuple[int, bool]]) -> None:
        for id, (view, initial) in asked.items():
            self.follows[id] = Follow(view, initial, self.store.add(id))
            if initial:
                request = VIEWS[view].request(id, view, initial=True)
                self.unsaved.add(request, self.follows[id].table)
        self.session.subscribe_all(
            [
                VIEWS[view].request(id, view, initial=initial)
                for id, (view, initial) in asked.items()
            ]
        )
        self._before = self.session.cursor
        self.send()

    def unsubscribe(self, id: str) -> None:
        del self.follows[id]
        self.store.remove(id)
        self.unsaved.remove(id)
        self.session.unsubscribe(id)
        self.send()

    def ask_again(self) -> None:
        self.session.ask_again(*self.refused)
        self.refused.clear()
        self.send()

    def send(self) -> None:
        """Put on the wire what the session has to say."""
        if self.link is not None and self.session.state is not ClientState.CLOSED:
            self.link.outbound.extend(self.session.take())

    # --- what comes ---

    def take(self) -> None:
        """Receive one message, and hold all that is visible against the truth."""
        assert self.link is not None
        payload, progress = self.link.inbound.popleft()
        before = self._before
        events = self.session.receive(payload)
        is_reset = payload.startswith(_RESET)
        for event in events:
            self._apply(event, progress, is_reset=is_reset)
        self.unsaved.cursor = self.session.cursor
        self.send()
        after = self.session.cursor
        if before and after and before.epoch == after.epoch:
            assert after.lsn >= before.lsn, f"{self.name}: the cursor went back"
        self._before = after
        self.judge()

    def _apply(self, event: Event, progress: int, *, is_reset: bool) -> None:
        match event:
            case Joined(id=id) if id in self.follows:
                self._join(event, self.follows[id])
            case WasReset(ids=ids):
                self.store.apply(event)
                self.resets += 1
                for id in ids:
                    follow = self.follows.get(id)
                    is_gap = follow and not follow.initial and event.reason != "schema_changed"
                    if follow and is_gap and is_reset:
                        self._begin(follow, progress)
            case Refused(code="unknown_id"):
                assert event.ref not in self.follows, "it was given up when it was refused"
            case Refused():
                assert event.code == "unavailable", event
                if event.has_ended and event.ref in self.follows:
                    self.refused.append(event.ref)
            case _:
                self.store.apply(event)

    def _join(self, event: Joined, follow: Follow) -> None:
        assert self.link is not None
        if not follow.initial:
            follow.table.describe(event.table, event.columns, event.key)
        self.store.apply(event)
        if event.mode == "live":
            self._begin(follow, self.link.begins[event.id])
        elif not follow.initial and self.session.cursor:
            cursor = self.session.cursor
            is_lost = not follow.table.is_live
            if is_lost or (cursor.epoch, cursor.lsn) < (follow.epoch, follow.floor):
                # It began behind the others, had told nothing yet, and goes on with them.
                follow.epoch, follow.floor = cursor.epoch, cursor.lsn
                truth = self._postgres.truths[cursor.epoch]
                follow.table.rows = dict(truth.shown(follow.view, cursor.lsn))
                follow.table.is_live = True

    def _begin(self, follow: Follow, position: int) -> None:
        """Let a subscription that takes no rows begin at a position, or where the cursor is."""
        cursor = self.session.cursor
        truth = self._postgres.truths[self.session.epoch]
        if cursor and cursor.epoch == truth.epoch:
            position = max(position, cursor.lsn)
        follow.floor, follow.epoch = position, truth.epoch
        follow.table.rows = dict(truth.shown(follow.view, position))
        follow.table.is_live = True

    # --- what must be so ---

    def judge(self) -> None:
        """Hold every live table against the truth at the cursor."""
        cursor = self.session.cursor
        for id, follow in self.follows.items():
            if not follow.table.is_live:
                continue
            expected = self._expected(follow, cursor)
            if follow.table.rows != expected:
                raise AssertionError(_difference(f"{self.name}.{id}", follow, cursor, expected))

    def _expected(self, follow: Follow, cursor: Cursor | None) -> Shown:
        position = follow.floor
        if cursor is None:
            assert not follow.initial, "visible rows without a position"
        elif follow.initial:
            position = cursor.lsn
        elif cursor.epoch == follow.epoch:
            position = max(cursor.lsn, follow.floor)
        if cursor is None or self._is_between(follow, cursor):
            return self._postgres.truths[follow.epoch].shown(follow.view, follow.floor)
        return self._postgres.truths[cursor.epoch].shown(follow.view, position)

    def _is_between(self, follow: Follow, cursor: Cursor) -> bool:
        """Tell whether a subscription without rows is in a new history before the cursor is."""
        is_ahead = cursor.epoch != follow.epoch and cursor.epoch != self.session.epoch
        return not follow.initial and is_ahead

    def judge_end(self, progress: int) -> None:
        """Hold everything against the newest truth: nothing hangs, nothing is missing."""
        for id, follow in self.follows.items():
            assert follow.table.is_live, f"{self.name}.{id} of view {follow.view} never came live"
        if self.follows:
            cursor = self.session.cursor
            assert cursor is not None, f"{self.name} has no position"
            assert cursor.epoch == self._postgres.truth.epoch, f"{self.name} is in another history"
            assert cursor.lsn == progress, f"{self.name} is at {cursor.lsn:#x}, not {progress:#x}"
            assert not self.session._waits, f"{self.name} still waits"
        self.judge()


def _difference(name: str, follow: Follow, cursor: Cursor | None, expected: Shown) -> str:
    rows = follow.table.rows
    missing = [row for key, row in expected.items() if key not in rows]
    extra = [row for key, row in rows.items() if key not in expected]
    wrong = [(row, rows[key]) for key, row in expected.items() if rows.get(key, row) != row]
    at = f"{cursor.epoch} {cursor.lsn:#x}" if cursor else "no position"
    return (
        f"{name} of view {follow.view} at {at} (initial={follow.initial}, "
        f"floor={follow.floor:#x}): missing {missing}, extra {extra}, wrong {wrong}"
    )
