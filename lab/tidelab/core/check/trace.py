"""What one client was told, replayed: its events become spans.

The one rule: the client is rebuilt from what it *received*. What a client library did with it is no
evidence of what the server said.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidelab.core.check.span import Claim, Delivery, Span
from tidelab.core.history.event import (
    Claimed,
    Copied,
    Disconnected,
    Received,
    Reset,
    Subscribed,
    Unsubscribed,
)
from tidelab.core.history.history import Record
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.core.oracle.oracle import Oracle


@dataclass(frozen=True, slots=True)
class Moment:
    """A position of the client as a whole, with the spans that were live then.

    Positions of one `generation` belong together: it ends when nothing is live any more, for then
    the client has no position that could go back.
    """

    record: Record
    lsn: Lsn
    is_spoken: bool
    live: tuple[Span, ...]
    generation: int

    @property
    def counts(self) -> bool:
        """Tell whether it is a position: without anything live a client has none."""
        return bool(self.live)


class Trace:
    """Follow one client; it can be fed offline, or online right behind the oracle."""

    def __init__(self, client: str, oracle: Oracle) -> None:
        self.client = client
        self.spans: list[Span] = []
        self.moments: list[Moment] = []
        self.strays: list[tuple[Record, str]] = []
        self._oracle = oracle
        self._current: dict[str, Span] = {}
        self._generation = 0

    @property
    def current(self) -> list[Span]:
        """Return the spans that have not ended."""
        return list(self._current.values())

    def receive(self, record: Record) -> None:
        """Take in the next event of the client; what is not about rows is passed over.

        Raises ShapeError if a shape cannot be judged.
        """
        match record.event:
            case Subscribed() as event:
                self._subscribe(record, event)
            case Unsubscribed(id):
                self._current.pop(id, None)
                self._renew()
            case Copied(id) as event:
                self._copy(record, id, event)
            case Received() as event:
                self._receive(record, event)
            case Claimed() as event:
                self._claim(record, event)
            case Reset(_, id):
                self._reset(record, id)
            case Disconnected():
                for span in self._current.values():
                    span.detach()
            case _:
                pass

    def _subscribe(self, record: Record, event: Subscribed) -> None:
        span = self._current.get(event.id)
        same = span is not None and span.view.shape == event.shape
        if same and span is not None and span.is_live == (event.mode == "resume"):
            span.is_attached = True  # it goes on: a live one with its commits, a copy with its rows
            return
        self._begin(record, event.id, event.shape, has_rows=event.mode == "copy")
        self._renew()

    def _begin(self, record: Record, id: str, shape: Shape, *, has_rows: bool) -> None:
        span = Span(self.client, id, self._oracle.view(shape), record, has_rows=has_rows)
        self._current[id] = span
        self.spans.append(span)

    def _reset(self, record: Record, id: str | None) -> None:
        """End spans; each begins anew with a copy, as the protocol has it."""
        ended = [
            span
            for span in self._current.values()
            if span.id == id or (id is None and span.is_live)
        ]
        for span in ended:
            self._begin(record, span.id, span.view.shape, has_rows=span.has_rows)
        self._renew()

    def _renew(self) -> None:
        """Begin a new generation when nothing is live."""
        if not any(span.is_live for span in self._current.values()):
            self._generation += 1

    def _copy(self, record: Record, id: str, event: Copied) -> None:
        span = self._current.get(id)
        if span is not None and span.is_live:
            self.strays.append((record, id))
        elif span is not None:
            span.copy(record, event)

    def _receive(self, record: Record, event: Received) -> None:
        for part in event.parts:
            span = self._current.get(part.id)
            if span is None:
                continue  # given up a moment ago: this was under way
            delivery = Delivery(record, event.lsn, part.changes, event.is_staged)
            if event.is_staged == span.is_live or not span.is_attached:
                self.strays.append((record, part.id))
            elif event.is_staged:
                span.stage(delivery)
            else:
                span.deliver(delivery)
        if not event.is_staged:
            self._arrive(Claim(record, event.lsn, is_spoken=False))

    def _claim(self, record: Record, event: Claimed) -> None:
        claim = Claim(record, event.lsn, is_spoken=True)
        for id in event.live:
            span = self._current.get(id)
            if span is not None and not span.is_live:
                span.show(claim)
        self._arrive(claim)

    def _arrive(self, claim: Claim) -> None:
        live = tuple([s for s in self._current.values() if s.is_live and s.is_attached])
        for span in live:
            span.claim(claim, self._oracle)
        self.moments.append(
            Moment(claim.record, claim.lsn, claim.is_spoken, live, self._generation)
        )
