"""Goal: every number of a signal is given out once, and whoever waits for it is told.

Method: raise, wait, time out.
"""

from __future__ import annotations

import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord import signals
from tidelab.core.coord.answer import Raised, Reached
from tidelab.core.coord.command import Await, Raise


def test_a_signal_counts_and_gives_everybody_a_number() -> None:
    table = Table()
    peers = [table.join(name) for name in "abc"]
    numbers = [table.ok(peer, Raise(signal="s"), Raised).sequence for peer in peers]
    assert numbers == [1, 2, 3]
    assert table.ok(peers[0], Await(signal="s", count=2), Reached).count == 3


def test_who_waits_is_told_at_the_count_and_not_before() -> None:
    table = Table()
    a, b, c = (table.join(name) for name in "abc")
    table.ask(a, Await(id=1, signal="s", count=1))
    table.ask(b, Await(id=2, signal="s", count=2))
    table.ask(c, Raise(signal="s"))
    assert table.last(a, Reached).count == 1
    assert len(table.told[b]) == 1
    table.ask(c, Raise(signal="s"))
    assert table.last(b, Reached).count == 2


def test_a_wait_ends_with_a_story_or_with_its_connection() -> None:
    table = Table()
    a, b = table.join("a"), table.join("b")
    table.ask(a, Await(signal="s", count=2, timeout_s=3))
    table.ask(b, Await(signal="s", count=2, timeout_s=3))
    table.ask(a, Raise(signal="s"))
    table.leave(b)
    told = len(table.told[b])
    table.pass_time(3)
    fault = table.last_fault(a)
    assert fault.code == "timeout"
    assert fault.message == "signal s: timed out after 3 s; raised 1 of 2 times"
    assert len(table.told[b]) == told
    assert table.server.counts()["alarms"] == 2, "the run, and the lease of b"


def test_numbers_go_on_after_a_restart() -> None:
    table = Table()
    table.ask(table.join("a"), Raise(signal="s"))
    table.restart()
    assert table.ok(table.join("a"), Raise(signal="s"), Raised).sequence == 2


def test_signals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "COORD_NAMES_MAX", 1)
    table = Table()
    a = table.join("a")
    table.ok(a, Raise(signal="s"), Raised)
    table.ok(a, Raise(signal="s"), Raised)
    assert table.fault(a, Raise(signal="t")).code == "full"
