"""Goal: events come in order, and what is no longer there is told. Method: publish and read."""

from __future__ import annotations

import msgspec
import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord import topics
from tidelab.core.coord.answer import Appended, Done, Events, Published
from tidelab.core.coord.command import Publish, Read, Subscribe, Unsubscribe


def event(text: str) -> Publish:
    return Publish(topic="t", data=msgspec.Raw(text.encode()))


def texts(events: Events) -> list[str]:
    return [bytes(each.data).decode() for each in events.events]


def test_a_subscriber_gets_what_was_and_what_follows_without_a_hole() -> None:
    table = Table()
    a, b, late = (table.join(name) for name in "abl")
    assert table.ok(a, Subscribe(topic="t"), Events).events == ()
    for n in range(3):
        assert table.ok(b, event(str(n)), Published).offset == n + 1
    told = table.ok(late, Subscribe(topic="t", offset=2), Events)
    assert (texts(told), told.next, told.gap) == (["1", "2"], 4, None)
    table.ok(b, event("3"), Published)
    for peer, offsets in ((a, [1, 2, 3, 4]), (late, [4])):
        pushes = [push for push in table.pushes(peer) if isinstance(push, Appended)]
        assert [push.offset for push in pushes] == offsets


def test_who_unsubscribes_or_goes_is_told_no_more() -> None:
    table = Table()
    a, b, c = (table.join(name) for name in "abc")
    for peer in (a, b):
        table.ok(peer, Subscribe(topic="t"), Events)
    table.ok(a, Unsubscribe(topic="t"), Done)
    table.ok(a, Unsubscribe(topic="never"), Done)
    table.leave(b)
    table.ok(c, event("1"), Published)
    assert table.pushes(a) == table.pushes(b) == []


def test_a_reader_waits_for_the_next_event_and_no_longer_than_it_wants() -> None:
    table = Table()
    a, b, c, d = (table.join(name) for name in "abcd")
    table.ask(a, Read(topic="t", wait_s=5))
    table.ask(b, Read(topic="t", offset=2, wait_s=5))
    table.ask(d, Read(topic="t", wait_s=5))
    table.leave(d)
    table.ok(c, event('"x"'), Published)
    assert texts(table.last(a, Events)) == ['"x"']
    table.pass_time(5)
    assert table.last(b, Events).next == 2
    assert texts(table.ok(c, Read(topic="t"), Events)) == ['"x"']
    assert table.ok(c, Read(topic="t", offset=9), Events).events == ()


def test_only_the_newest_are_kept_and_the_rest_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "COORD_TOPIC_EVENTS_MAX", 3)
    monkeypatch.setattr(topics, "COORD_TOPIC_BYTES_MAX", 10)
    table = Table()
    a = table.join("a")
    for n in range(5):
        table.ok(a, event(str(n)), Published)
    told = table.ok(a, Read(topic="t", offset=1), Events)
    assert (texts(told), told.gap, told.next) == (["2", "3", "4"], (1, 2), 6)
    table.ok(a, event('"12345678"'), Published)
    told = table.ok(a, Read(topic="t", offset=3), Events)
    assert (texts(told), told.gap) == (['"12345678"'], (3, 5))
    table.restart()
    told = table.ok(table.join("a"), Read(topic="t"), Events)
    assert (told.gap, told.next) == ((1, 5), 7), "offsets go on after a restart"


def test_who_only_asks_for_topics_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "COORD_NAMES_MAX", 3)
    table = Table()
    a, b, c = (table.join(name) for name in "abc")
    table.ok(a, Subscribe(topic="s"), Events)
    table.ask(b, Read(topic="r", wait_s=5))
    for name in ("x", "y", "t"):
        table.ok(c, Read(topic=name), Events)
    table.ok(c, event("1"), Published)
    assert table.fault(c, Read(topic="z")).code == "full", "there is something in each of them"
    for name, peer in (("s", a), ("r", b)):
        table.ok(c, Publish(topic=name, data=msgspec.Raw(b"2")), Published)
        message = table.told[peer][-1]
        assert isinstance(message, Appended) or texts(table.last(peer, Events)) == ["2"]


def test_topics_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "COORD_NAMES_MAX", 1)
    monkeypatch.setattr(topics, "COORD_EVENT_BYTES_MAX", 2)
    table = Table()
    a = table.join("a")
    assert table.fault(a, event("123")).code == "too_large"
    table.ok(a, event("12"), Published)
    assert table.fault(a, Publish(topic="u", data=msgspec.Raw(b"1"))).code == "full"
    assert table.fault(a, Read(topic="u")).code == "full"
    assert table.fault(a, Subscribe(topic="u")).code == "full"
