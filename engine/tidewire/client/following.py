"""Everything that a client follows: its subscriptions, their rows, and who is told of commits.

One rule: an event is applied to the rows first and told afterwards, in the same call; so nobody is
told of a commit that the rows do not hold.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any

from tidewire.client.inbox import Inbox
from tidewire.client.subscription import (
    Shape,
    Subscription,
    Transaction,
    commit_time,
)
from tidewire.core.model.lsn import format_lsn
from tidewire.core.protocol.codes import ERRORS
from tidewire.core.protocol.events import Chunk, Committed, Event, Joined, Progressed, WasReset
from tidewire.core.saved import Saved, Unsaved
from tidewire.core.session.client import ClientSession
from tidewire.core.store import Store, Table
from tidewire.errors import Diverged, RowError, SyncError, TidewireError

_log = logging.getLogger("tidewire.client")


class Following:
    """The subscriptions of one client, by id."""

    def __init__(
        self, session: ClientSession, moved: asyncio.Event, unsaved: Unsaved | None = None
    ) -> None:
        self.subscriptions: dict[str, Subscription[Any]] = {}
        self._unasked: dict[str, Subscription[Any]] = {}
        """Those of the store that the program has not asked for again, so far."""
        self._keeps_unasked = True
        self.error: TidewireError | None = None
        """Why nothing more comes."""
        self._unsaved = unsaved
        self._session = session
        self._store = Store()
        self._moved = moved
        self._inbox: Inbox[Transaction] | None = None
        self._made = 0

    @property
    def loading(self) -> list[str]:
        """The tables whose rows are not there, or stand still."""
        return [each.table for each in self.subscriptions.values() if not each.is_live]

    def add(
        self, shapes: Sequence[Shape[Any]], *, patience_s: float
    ) -> tuple[Subscription[Any], ...]:
        """Ask for shapes in one message.

        Raises SyncError, before anything was asked for, when one cannot be written.
        """
        for shape in shapes:
            shape.check()
        found = [
            self._adopt(shape, patience_s) or self._make(shape, patience_s) for shape in shapes
        ]
        fresh = [each.shape.request(each.id) for each in found if not each.is_restored]
        if fresh:
            self._session.subscribe_all(fresh)
        return tuple(found)

    def _adopt(self, shape: Shape[Any], patience_s: float) -> Subscription[Any] | None:
        for id, subscription in self._unasked.items():
            if subscription.shape.is_asked_like(shape):
                del self._unasked[id]
                try:
                    subscription.adopt(shape, patience_s)
                except RowError as error:
                    self.drop(subscription, error)
                return subscription
        return None

    def _make(self, shape: Shape[Any], patience_s: float) -> Subscription[Any]:
        self._made += 1
        id = f"{self._made}"
        table = self._store.add(id) if shape.initial else Table()
        subscription = Subscription(id, shape, table, self._moved, patience_s)
        self.subscriptions[id] = subscription
        if self._unsaved is not None and shape.initial:
            self._unsaved.add(shape.request(id), table)
        return subscription

    def restore(self, saved: Saved) -> None:
        """Go on with what the store holds, before the first connection."""
        for entry, table in saved.tables:
            id = entry.request.id
            self._made = max(self._made, int(id))
            subscription = Subscription(id, Shape.of(entry.request), table, self._moved, math.inf)
            subscription.is_restored = True
            self.subscriptions[id] = self._unasked[id] = subscription
            self._store.restore(id, table)
        if self._unsaved is not None:
            self._unsaved.restore(saved)
        self._session.go_on(saved.cursor, [entry.continued() for entry, _ in saved.tables])

    def give_back(self, subscription: Subscription[Any]) -> None:
        """Undo `add`: what the store had before is as if it had not been asked for."""
        is_there = subscription.is_restored and subscription.id in self.subscriptions
        if is_there and self._keeps_unasked:
            self._unasked[subscription.id] = subscription
        else:
            self.drop(subscription)

    def forget_unasked(self) -> None:
        """Give up what the store holds and the program does not want any more."""
        self._keeps_unasked = False
        for subscription in list(self._unasked.values()):
            _log.info("%s: not asked for again, and forgotten", subscription.table)
            self.drop(subscription)

    def drop(self, subscription: Subscription[Any], error: TidewireError | None = None) -> None:
        """Give up a subscription, or learn that the server does not have it."""
        if self.subscriptions.pop(subscription.id, None):
            self._unasked.pop(subscription.id, None)
            self._session.unsubscribe(subscription.id)
            self._store.remove(subscription.id)
            if self._unsaved is not None:
                self._unsaved.remove(subscription.id)
            subscription.end(error)

    def transactions(self) -> Inbox[Transaction]:
        """Return the inbox for whole transactions; it is filled from the first call on."""
        if self._inbox is None:
            self._inbox = Inbox()
            if self.error is not None:
                self._inbox.end(self.error)
        return self._inbox

    def take(self, event: Event) -> None:
        """Apply an event to the rows and tell who is concerned.

        Raises Diverged, before anything was told, when it does not fit the rows.
        """
        self._store.apply(event)
        match event:
            case Joined():
                self._join(event)
            case Chunk():
                for id in event.ids:
                    self.subscriptions[id].refused_at = None  # a copy that goes on is no refusal
            case Committed():
                self._hand_out(event)
            case WasReset():
                text = ERRORS[event.reason].text if event.reason in ERRORS else ""
                _log.warning("the server cannot continue: %s", event.reason)
                self._interrupt(event.ids, SyncError(event.reason, text))
            case Progressed():
                for id in event.live:
                    self.subscriptions[id].go_live()
                self._go_on()
            case _:
                pass

    def start_over(self, error: Diverged) -> None:
        """Wait for new copies of everything."""
        self._store.start_over()
        self._interrupt(list(self.subscriptions), error)

    def end(self, error: TidewireError) -> None:
        """Tell everybody that nothing more comes."""
        self.error = self.error or error
        for subscription in self.subscriptions.values():
            subscription.end(error)
        if self._inbox is not None:
            self._inbox.end(error)

    def _join(self, event: Joined) -> None:
        subscription = self.subscriptions.get(event.id)
        if subscription is None:
            return  # forgotten because of what the server said in the same message
        try:
            subscription.join(event)
        except RowError as error:
            self.drop(subscription, error)

    def _go_on(self) -> None:
        # Without rows to load, the first word after `subscribed` gives the position to go on from.
        for each in self.subscriptions.values():
            if each.columns and not each.shape.initial and not each.is_live:
                each.go_live()

    def _hand_out(self, event: Committed) -> None:
        if event.is_staged:
            return
        changes = {self.subscriptions[id]: its for id, its in event.changes.items()}
        for subscription, its in changes.items():
            subscription.take(event, its)
        asked = {each: its for each, its in changes.items() if each.id not in self._unasked}
        if self._inbox is not None and asked:
            lsn, at = format_lsn(event.lsn), commit_time(event)
            transaction = Transaction(lsn=lsn, at=at, xid=event.xid, changes=asked)
            self._inbox.put(transaction, sum(map(len, asked.values())))
        self._go_on()

    def _interrupt(self, ids: Sequence[str], error: SyncError) -> None:
        for id in ids:
            if id in self._unasked:  # its rows are of no use any more, and nobody wants others
                self.drop(self._unasked[id])
        found = [self.subscriptions[id] for id in ids if id in self.subscriptions]
        is_news = [subscription.interrupt(error) for subscription in found]
        if self._inbox is not None and any(is_news):
            self._inbox.interrupt(error)
