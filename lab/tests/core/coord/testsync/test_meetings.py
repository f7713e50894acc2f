"""Goal: each message of an agent is one deed or one error, and nothing is remembered for ever.

Method: messages in, deeds out; time is a number; bounds are made small.
"""

from __future__ import annotations

import json

import pytest

from tidelab.core.coord.testsync import frame, meetings
from tidelab.core.coord.testsync.limits import RETENTION_S
from tidelab.core.coord.testsync.meeting import Agent
from tidelab.core.coord.testsync.meetings import (
    Deed,
    ForgetData,
    Hang,
    KeepData,
    Meetings,
    SendData,
    Tell,
)
from tidelab.errors import RefusedError

LONG_MS = RETENTION_S * 1000


def say(all_: Meetings, agent: Agent, command: str, content: object = None) -> Deed | None:
    message = json.dumps({"command": command, "content": content}).encode()
    return all_.receive(agent, message, 1000)


def wait(all_: Meetings, agent: Agent, identifier: str, target: int) -> Deed | None:
    content = {"identifier": identifier, "target_count": target}
    return say(all_, agent, "wait_checkpoint", content)


def test_commands_are_deeds() -> None:
    all_ = Meetings(0)
    agent = all_.register(7)
    assert say(all_, agent, "read_data") == SendData(7)
    assert say(all_, agent, "update_data", [1]) == KeepData(7, b"[1]")
    assert say(all_, agent, "close") == Hang()


def test_agents_of_a_test_are_counted_while_they_are_there() -> None:
    all_ = Meetings(0)
    agent, other, _elsewhere = all_.register(7), all_.register(7), all_.register(8)
    count = "get_connection_count"
    assert say(all_, agent, count) == Tell((agent,), frame.connection_count(2))
    all_.leave(other, 0)
    all_.leave(other, 0)
    assert say(all_, agent, count) == Tell((agent,), frame.connection_count(1))


def test_agents_are_released_with_one_text_and_late_ones_with_another() -> None:
    all_ = Meetings(0)
    first, second, late = all_.register(7), all_.register(7), all_.register(7)
    assert wait(all_, first, "x", 2) is None
    assert wait(all_, second, "x", 2) == Tell((first, second), frame.released("x", 1500))
    assert wait(all_, late, "x", 2) == Tell((late,), frame.released_before("x", 1500))


def test_nonsense_is_answered_and_changes_nothing() -> None:
    all_ = Meetings(0)
    agent = all_.register(7)
    deed = all_.receive(agent, b"hello", 0)
    assert isinstance(deed, Tell)
    assert deed.agents == (agent,)
    assert json.loads(deed.text)["content"]["code"] == 400
    assert say(all_, agent, "close") == Hang()


def test_more_agents_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meetings, "AGENTS_MAX", 2)
    all_ = Meetings(0)
    gone = all_.register(1)
    all_.register(1)
    with pytest.raises(RefusedError, match="takes 2 agents"):
        all_.register(1)
    all_.leave(gone, 0)
    all_.register(1)


def test_more_tests_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meetings, "MEETINGS_MAX", 1)
    all_ = Meetings(0)
    all_.register(1)
    all_.register(1)
    with pytest.raises(RefusedError, match="takes 1 tests"):
        all_.register(2)


def test_more_waiting_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meetings, "CHECKPOINTS_MAX", 2)
    all_ = Meetings(0)
    agent, leaving = all_.register(1), all_.register(2)
    wait(all_, agent, "one", 2)
    wait(all_, leaving, "two", 2)
    refused = wait(all_, agent, "three", 1)
    assert isinstance(refused, Tell)
    assert b'"code":503' in refused.text
    again = wait(all_, all_.register(1), "one", 2)
    assert isinstance(again, Tell)
    assert b'"finished":true' in again.text
    all_.leave(leaving, 0)
    assert wait(all_, agent, "three", 2) is None


def test_what_was_released_longest_ago_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meetings, "CHECKPOINTS_MAX", 3)
    all_ = Meetings(0)
    agent, other = all_.register(1), all_.register(2)
    wait(all_, agent, "waits", 2)
    for number in range(10):
        told = wait(all_, agent, f"round-{number}", 1)
        assert told == Tell((agent,), frame.released(f"round-{number}", 1500))
    assert wait(all_, other, "elsewhere", 2) is None, "one test takes no room from another"
    assert wait(all_, agent, "round-8", 2) is None, "a name that was forgotten is new"
    assert wait(all_, all_.register(1), "waits", 2) is not None
    assert all_.counts()["checkpoints"] == 3


def test_what_nobody_came_back_to_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meetings, "CHECKPOINTS_MAX", 1)
    all_ = Meetings(5)
    assert all_.next_deadline() == 5 + LONG_MS
    agent = all_.register(1)
    wait(all_, agent, "x", 1)
    all_.leave(agent, 10)
    assert all_.clean(9 + LONG_MS) == ForgetData(9, frozenset())
    late = all_.register(1)
    told = wait(all_, late, "x", 1)
    assert told == Tell((late,), frame.released_before("x", 1500))
    all_.leave(late, 10)
    all_.clean(10 + LONG_MS)
    assert all_.next_deadline() == 10 + 2 * LONG_MS
    assert all_.counts() == {"agents": 0, "tests": 0, "checkpoints": 0}
    new = all_.register(1)
    for name in ("y", "z"):  # each makes room for the next
        assert wait(all_, new, name, 1) == Tell((new,), frame.released(name, 1500))
    assert all_.counts()["checkpoints"] == 1


def test_what_somebody_uses_is_kept() -> None:
    all_ = Meetings(0)
    agent = all_.register(1)
    all_.leave(all_.register(2), 0)
    wait(all_, agent, "x", 1)
    assert all_.clean(9 * LONG_MS) == ForgetData(8 * LONG_MS, frozenset({1}))
    assert wait(all_, agent, "x", 1) == Tell((agent,), frame.released_before("x", 1500))


def test_what_is_there_and_what_was_refused_is_counted() -> None:
    all_ = Meetings(0)
    a, b = all_.register(1), all_.register(2)
    wait(all_, a, "x", 2)
    wait(all_, b, "x", 1)
    for command in ("nope", "nor this", "wait_checkpoint"):
        say(all_, a, command, "text")
    assert all_.counts() == {"agents": 2, "tests": 2, "checkpoints": 2}
    assert all_.refused == {404: 2, 400: 1}
    all_.leave(b, 0)
    assert all_.counts() == {"agents": 1, "tests": 2, "checkpoints": 2}
