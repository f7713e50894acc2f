"""Goal: histories are numbered and can be asked. Method: record a few events, ask for them."""

from __future__ import annotations

from tidelab.core.history.event import Connected, Disconnected, Invoked, Succeeded
from tidelab.core.history.history import Journal, Record
from tidelab.core.history.position import Lsn


def test_events_are_numbered_and_listeners_hear_them() -> None:
    heard: list[Record] = []
    journal = Journal([heard.append])
    journal.record("a", Invoked(1, "write"), at_s=0.5)
    journal.record("a", Succeeded(1, Lsn(7)), at_s=0.75)
    assert [(record.seq, record.at_s) for record in heard] == [(0, 0.5), (1, 0.75)]
    assert journal.history.records == tuple(heard)


def test_a_history_is_asked_by_process_kind_and_predicate() -> None:
    journal = Journal()
    for process in ("a", "b", "a"):
        journal.record(process, Connected())
    journal.record("b", Disconnected("gone"))
    history = journal.history
    assert {name: len(found) for name, found in history.processes.items()} == {"a": 2, "b": 2}
    assert [event.reason for _, event in history.events(Disconnected)] == ["gone"]
    found = history.find(lambda record: record.process == "b")
    assert found is not None
    assert found.seq == 1
    assert history.find(lambda record: record.seq > 10) is None
