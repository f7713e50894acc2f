"""Everything that a client follows: its subscriptions, their rows, and who is told of commits.

One rule: an event is applied to the rows first and told afterwards, in the same call; so nobody is
told of a commit that the rows do not hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from tidewire.client.inbox import Inbox
from tidewire.client.subscription import Shape, Subscription, Transaction, commit_time
from tidewire.core.model.lsn import format_lsn
from tidewire.core.protocol.codes import ERRORS
from tidewire.core.protocol.events import Chunk, Committed, Event, Joined, Progressed, WasReset
from tidewire.core.session.client import ClientSession
from tidewire.core.store import Store, Table
from tidewire.errors import Disconnected, Diverged, RowError, SyncError, TidewireError

_log = logging.getLogger("tidewire.client")


class Following:
    """The subscriptions of one client, by id."""

    def __init__(self, session: ClientSession, moved: asyncio.Event) -> None:
        self.subscriptions: dict[str, Subscription[Any]] = {}
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
        made = []
        for shape in shapes:
            shape.check()
        for shape in shapes:
            self._made += 1
            id = f"{self._made}"
            table = self._store.add(id) if shape.initial else Table()
            subscription = Subscription(id, shape, table, self._moved, patience_s)
            made.append(subscription)
            self.subscriptions[id] = subscription
        self._session.subscribe_all([each.shape.request(each.id) for each in made])
        return tuple(made)

    def drop(self, subscription: Subscription[Any], error: TidewireError | None = None) -> None:
        """Give up a subscription, or learn that the server does not have it."""
        if self.subscriptions.pop(subscription.id, None):
            self._session.unsubscribe(subscription.id)
            self._store.remove(subscription.id)
            subscription.end(error)

    def transactions(self, error: Disconnected | None) -> Inbox[Transaction]:
        """Return the inbox for whole transactions; it is filled from the first call on."""
        if self._inbox is None:
            self._inbox = Inbox()
            if error is not None:
                self._inbox.end(error)
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

    def end(self, error: Disconnected) -> None:
        """Tell everybody that nothing more comes."""
        for subscription in self.subscriptions.values():
            subscription.end(error)
        if self._inbox is not None:
            self._inbox.end(error)

    def _join(self, event: Joined) -> None:
        subscription = self.subscriptions[event.id]
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
        if self._inbox is not None and changes:
            lsn, at = format_lsn(event.lsn), commit_time(event)
            transaction = Transaction(lsn=lsn, at=at, xid=event.xid, changes=changes)
            self._inbox.put(transaction, sum(map(len, changes.values())))
        self._go_on()

    def _interrupt(self, ids: Sequence[str], error: SyncError) -> None:
        is_news = [self.subscriptions[id].interrupt(error) for id in ids]
        if self._inbox is not None and any(is_news):
            self._inbox.interrupt(error)
