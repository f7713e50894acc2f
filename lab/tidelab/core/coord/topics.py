"""The topics of a run: events in order, the newest of which are kept.

The one rule: offsets have no holes. What is no longer kept is told as a gap, never left out.
"""

from __future__ import annotations

import functools
from collections import deque

import msgspec

from tidelab.core.coord.answer import Appended, Body, Done, Event, Events, Fault, Published
from tidelab.core.coord.command import Publish, Read, Subscribe, Unsubscribe
from tidelab.core.coord.desk import Desk, Ticket
from tidelab.core.coord.record import Record
from tidelab.limits import (
    COORD_EVENT_BYTES_MAX,
    COORD_NAMES_MAX,
    COORD_TOPIC_BYTES_MAX,
    COORD_TOPIC_EVENTS_MAX,
)


class Topic:
    """One topic."""

    def __init__(self) -> None:
        self.last = 0
        """The offset of the newest event."""
        self.events: deque[Event] = deque()
        self.bytes = 0
        self.peers: dict[int, None] = {}
        """Connections that are told of every event, in the order in which they came."""
        self.readers: dict[Ticket, Read] = {}

    def append(self, event: Event) -> None:
        """Take the next event."""
        self.last = event.offset
        self.events.append(event)
        self.bytes += len(bytes(event.data))

    def drop(self, ticket: Ticket) -> None:
        """Forget a reader."""
        del self.readers[ticket]

    def shed(self) -> list[int]:
        """Let go of the oldest events beyond the bounds; return their offsets."""
        gone = []
        while len(self.events) > COORD_TOPIC_EVENTS_MAX or self.bytes > COORD_TOPIC_BYTES_MAX:
            event = self.events.popleft()
            self.bytes -= len(bytes(event.data))
            gone.append(event.offset)
        return gone


class Topics:
    """All topics of one run."""

    def __init__(self, run: str, desk: Desk) -> None:
        self._run, self._desk = run, desk
        self.topics: dict[str, Topic] = {}

    def publish(self, command: Publish) -> Body | Fault:
        """Append an event, and tell everybody who follows."""
        data = bytes(command.data)
        if len(data) > COORD_EVENT_BYTES_MAX:
            told = f"an event has at most {COORD_EVENT_BYTES_MAX} bytes, this one has {len(data)}"
            return Fault("too_large", told)
        topic = self._topic(command.topic)
        if isinstance(topic, Fault):
            return topic
        event = Event(topic.last + 1, msgspec.Raw(data))
        topic.append(event)
        self._desk.write(Record(self._run, "event", command.topic, event.offset, data))
        for offset in topic.shed():
            self._desk.write(Record(self._run, "event", command.topic, offset, None))
        push = Appended(command.topic, event.offset, event.data)
        for peer in topic.peers:
            self._desk.push(peer, push)
        for ticket, read in list(topic.readers.items()):
            if read.offset <= event.offset:
                del topic.readers[ticket]
                self._desk.answer(ticket, self._since(topic, read.topic, read.offset))
        return Published(command.topic, event.offset)

    def read(self, command: Read, ticket: Ticket, now: float) -> Body | Fault | None:
        """Return what there is from an offset; None when there may be something later."""
        topic = self._topic(command.topic)
        if isinstance(topic, Fault):
            return topic
        if command.offset <= topic.last or not command.wait_s:
            return self._since(topic, command.topic, command.offset)
        topic.readers[ticket] = command
        drop = functools.partial(topic.drop, ticket)
        ring = functools.partial(self._give_up, topic, ticket)
        self._desk.hold(ticket, drop, now + command.wait_s, ring)
        return None

    def subscribe(self, command: Subscribe, peer: int) -> Body | Fault:
        """Return what there is from an offset, and tell of all that follows."""
        topic = self._topic(command.topic)
        if isinstance(topic, Fault):
            return topic
        topic.peers[peer] = None
        return self._since(topic, command.topic, command.offset or topic.last + 1)

    def unsubscribe(self, command: Unsubscribe, peer: int) -> Body:
        """Tell a connection no more."""
        self.forget(command.topic, peer)
        return Done()

    def forget(self, name: str, peer: int) -> None:
        """Note that a connection follows a topic no more."""
        topic = self.topics.get(name)
        if topic is not None:
            topic.peers.pop(peer, None)

    def restore(self, record: Record) -> None:
        """Take back a record; those of one topic come in order."""
        event = Event(record.number, msgspec.Raw(record.content or b""))
        self.topics.setdefault(record.name, Topic()).append(event)

    def _topic(self, name: str) -> Topic | Fault:
        topic = self.topics.get(name)
        if topic is None:
            if len(self.topics) >= COORD_NAMES_MAX and not self._forget_one():
                return Fault("full", f"a run has at most {COORD_NAMES_MAX} topics")
            topic = self.topics[name] = Topic()
        return topic

    def _forget_one(self) -> bool:
        """Forget a topic that was only asked for: nothing is in it, and nobody waits for it."""
        for name, topic in self.topics.items():
            if not (topic.last or topic.peers or topic.readers):
                del self.topics[name]
                return True
        return False

    def _since(self, topic: Topic, name: str, offset: int) -> Events:
        oldest = topic.last + 1 - len(topic.events)
        gap = (offset, oldest - 1) if offset < oldest else None
        found = tuple(event for event in topic.events if event.offset >= offset)
        return Events(name, max(offset, topic.last + 1), found, gap)

    def _give_up(self, topic: Topic, ticket: Ticket, now: float) -> None:
        read = topic.readers.pop(ticket)
        self._desk.answer(ticket, self._since(topic, read.topic, read.offset))
