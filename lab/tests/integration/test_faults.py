"""Goal: each fault of a run happens to a real server, is healed, and would be told of if it hurt.

Method: a short run with one fault each, and traces that only that fault leaves. A server that is
broken in that place has to be called so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import tidewire.limits
from tidelab import limits
from tidelab.chaos import server
from tidelab.chaos.lull import SLEEPS
from tidelab.chaos.neighbour import BOUNDED
from tidelab.core.check.founded import STEAL
from tidelab.core.check.verdict import Answer, Verdict
from tidelab.core.history.event import (
    Asserted,
    Disconnected,
    Failed,
    Invoked,
    Received,
    Reset,
    Succeeded,
)
from tidelab.core.history.history import History, Record
from tidelab.core.history.truth import Committed
from tidelab.plan import Plan
from tidelab.run import ENGINE_LOG, Outcome, run

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(240)]

LOUD = 2  # a seed whose neighbour fills 18 segments, beside clients and writers
EFFORT = int(os.environ.get("TIDEWIRE_EFFORT", "1"))


def inflict(fault: str, folder: Path, *, seed: int = 1, clients: int = 10) -> Outcome:
    """Run long enough for one fault of a kind, which is healed before the run ends."""
    outcome = run(Plan(seed=seed, clients=clients, seconds=6, faults=(fault,)), folder)
    assert fault in {event.name for _, event in outcome.history.events(Invoked)}
    return outcome


def assert_true(outcome: Outcome) -> None:
    assert outcome.report.answer is Answer.TRUE, outcome.document()["violations"]


def verdict_of(checker: str, outcome: Outcome) -> Verdict:
    [found] = [each for each in outcome.report.verdicts if each.checker == checker]
    return found


def log_of(outcome: Outcome) -> str:
    return (outcome.folder / ENGINE_LOG).read_text()


def durations(history: History, is_meant: Callable[[Record], bool]) -> list[float]:
    """Return how long operations took, whatever became of them."""
    begun = {e.operation: r.at_s for r, e in history.events(Invoked) if is_meant(r)}
    return [
        record.at_s - begun[record.event.operation]
        for record in history.records
        if isinstance(record.event, Succeeded | Failed) and record.event.operation in begun
    ]


def test_a_big_transaction_comes_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BIG_TRANSACTION_ROWS", 20_000)
    outcome = inflict("big-transaction", tmp_path, clients=5)
    assert_true(outcome)
    sizes = [len(event.changes) for _, event in outcome.history.events(Committed)]
    assert sum(size >= 1000 for size in sizes) >= 2, "in with it, and out again"


@pytest.mark.soak
def test_a_transaction_of_100_000_rows_comes_and_goes_and_the_server_is_killed(
    tmp_path: Path,
) -> None:
    rows = min(100_000 * EFFORT, limits.BIG_ROWS_MAX)  # a million under make soak
    faults = ("big-transaction", "kill")
    outcome = run(Plan(seed=2, clients=3, seconds=4, faults=faults, big_rows=rows), tmp_path)
    assert_true(outcome)
    sizes = [len(event.changes) for _, event in outcome.history.events(Committed)]
    assert sum(size >= rows for size in sizes) == 2, "in with it, and out again"
    parts = [part for _, event in outcome.history.events(Received) for part in event.parts]
    assert max(len(part.changes) for part in parts) >= rows, "somebody was told of all"


def test_a_transaction_stays_open_beside_the_others(tmp_path: Path) -> None:
    outcome = inflict("open-transaction", tmp_path)
    assert_true(outcome)
    held = durations(outcome.history, lambda record: record.process == "holder")
    assert held
    assert min(held) >= limits.HELD_AT_LEAST_S


def test_the_spool_is_full_for_a_while(tmp_path: Path) -> None:
    outcome = inflict("spool-full", tmp_path)
    assert_true(outcome)
    assert "replication: the spool cannot take" in log_of(outcome)


def test_commits_wait_for_a_standby_after_they_were_streamed(tmp_path: Path) -> None:
    outcome = inflict("stalled-standby", tmp_path, seed=2)
    assert_true(outcome)
    took = durations(outcome.history, lambda record: record.process in ("w1", "w2", "w3"))
    assert sum(each > limits.HELD_AT_LEAST_S / 2 for each in took) >= 3, "each writer hung"


def test_a_neighbour_writes_more_than_may_be_kept(tmp_path: Path) -> None:
    outcome = inflict("neighbour", tmp_path, seed=LOUD)
    assert_true(outcome)
    assert "fewer will be able to go on" in log_of(outcome)
    assert BOUNDED in {event.name for _, event in outcome.history.events(Asserted)}


def test_everybody_is_away_and_the_server_sleeps(tmp_path: Path) -> None:
    outcome = inflict("lull", tmp_path)
    assert_true(outcome)
    assert SLEEPS in {event.name for _, event in outcome.history.events(Asserted)}
    away = [event for _, event in outcome.history.events(Disconnected) if event.reason == "away"]
    assert away
    assert "asleep: nobody has been there" in log_of(outcome)


def test_a_slot_is_stolen_and_everybody_is_told(tmp_path: Path) -> None:
    outcome = inflict(STEAL, tmp_path)
    assert_true(outcome)
    assert {event.reason for _, event in outcome.history.events(Reset)} & {
        "other_history",
        "lagged",
    }


# --- servers that are broken where a fault hits them ---


def test_a_server_that_does_not_guard_the_log_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server.SETTINGS, "wal_bytes_max", 1 << 40)
    outcome = inflict("neighbour", tmp_path, seed=LOUD)
    assert BOUNDED in verdict_of("assertion", outcome).violations[0].text


def test_a_server_that_does_not_fall_asleep_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server.SETTINGS, "hibernate_after_s", 0)
    monkeypatch.setattr(limits, "FALL_ASLEEP_S", 3)
    outcome = inflict("lull", tmp_path)
    text = verdict_of("assertion", outcome).violations[0].text
    assert "state of the server is 'streaming' for 3 s" in text


def test_clients_that_are_reset_without_a_theft_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: only a theft founds it. Method: there is one, and the judge does not hear of it."""
    monkeypatch.setattr("tidelab.core.check.founded.STEAL", "a kind of theft that nobody knows")
    outcome = inflict(STEAL, tmp_path)
    assert "nobody is reset" in verdict_of("assertion", outcome).violations[0].text


# --- what they are made of ---


def test_bounds_that_are_replaced_are_bounds_of_the_server() -> None:
    for name, value in server.bounds_for(("lull",)).items():
        assert value < getattr(tidewire.limits, name)
    assert server.bounds_for(("kill", STEAL)) == {}
    assert server.settings_for(("kill", STEAL)) == {}
