"""Goal: what a subscription has is continued, or begun anew, and never both.

Method: messages of a server as JSON go in, events and messages to send come out.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.tests.core.session.server_messages import (
    NOTES,
    accept,
    again,
    asked,
    chunk,
    commit,
    copying,
    joined,
    live,
    row,
    said,
    told,
    up_to,
    welcome,
    went,
)
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.session.client import (
    Chunk,
    Committed,
    Joined,
    Progressed,
    Refused,
    WasReset,
)
from tidewire.errors import ProtocolError


def resume(chunk: int, copy: str = "c1") -> dict[str, Any]:
    return {"id": "n", "table": "notes", "resume": {"copy": copy, "chunk": chunk}}


# --- coming back ---


def test_a_copy_is_resumed_behind_the_chunks_that_are_there() -> None:
    session = copying()
    assert again(session) == [{"id": "n", "table": "notes"}], "there is nothing to resume yet"
    accept(session, "n")
    chunk(session, 0, 1)
    chunk(session, 1, 2)
    assert again(session) == [resume(2)]
    accept(session, "n")
    (event,) = chunk(session, 2, 3, last=True)
    assert isinstance(event, Chunk)
    went(session, *up_to(session, "0/5", "n"))


def test_a_whole_copy_is_resumed_behind_its_last_chunk_and_goes_live_without_another() -> None:
    session = copying()
    chunk(session, 0, 1, last=True)
    commit(session, "0/3", row(2), stage=True)
    assert again(session) == [resume(1)]
    accept(session, "n")
    commit(session, "0/3", row(2), stage=True)
    went(session, *up_to(session, "0/5", "n"))


def test_the_server_may_answer_with_another_copy() -> None:
    session = copying()
    chunk(session, 0, 1)
    again(session)
    accept(session, "n")
    chunk(session, 0, 1, copy="c2")
    assert again(session) == [resume(1, "c2")]


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_copy_of_another_history_is_not_resumed(is_whole: bool) -> None:
    session = copying()
    chunk(session, 0, 1, last=is_whole)
    assert again(session, "e2") == [{"id": "n", "table": "notes"}]
    accept(session, "n")
    with pytest.raises(ProtocolError):
        up_to(session, "0/5", "n")


def test_a_copy_of_other_columns_is_not_gone_on_with() -> None:
    session = copying()
    chunk(session, 0, 1)
    again(session)
    accept(session, "n", columns=[["id", "int4"]])
    with pytest.raises(ProtocolError, match="out of order"):
        chunk(session, 1, rows=[[1]])


def test_only_what_was_live_is_continued_from_the_cursor() -> None:
    session = live()
    session.subscribe("m", "notes")
    accept(session, "m")
    chunk(session, 0, 1)
    session.subscribe("o", "notes")
    up_to(session, "0/7")
    start = {"epoch": "e1", "lsn": "0/7", "tag": "tag-0/7"}
    assert again(session) == [
        {"id": "n", "table": "notes", "from": start},
        resume(1) | {"id": "m"},
        {"id": "o", "table": "notes"},
    ]
    accept(session, "n", mode="catchup")
    assert session.is_loading
    (event,) = commit(session, "0/8", row(2))
    assert isinstance(event, Committed)
    assert event.changes.keys() == {"n"}


def test_half_a_staged_commit_is_forgotten_with_its_connection() -> None:
    session = copying()
    chunk(session, 0, 1, last=True)
    commit(session, "0/3", row(2), part=0, last=False, stage=True)
    again(session)
    accept(session, "n")
    with pytest.raises(ProtocolError, match="part of a commit is missing"):
        commit(session, "0/3", row(2), part=1, last=True, stage=True)


def test_a_cursor_of_rows_that_are_not_there_any_more_is_forgotten() -> None:
    session = copying()
    up_to(session, "0/9")
    session.disconnect()
    welcome(session)
    accept(session, "n")
    assert up_to(session, "0/4") == [Progressed(Lsn(4))], "of a node that is behind"


def test_too_many_for_one_message_are_asked_for_in_several() -> None:
    session = live()
    count = limits.SHAPES_PER_SESSION
    session.subscribe_all([frames.ShapeRequest(id=f"{i}", table="notes") for i in range(count)])
    session.take()
    session.disconnect()
    welcome(session)
    first, second = said(session)
    assert (len(first["shapes"]), len(second["shapes"])) == (count, 1)
    assert "from" in first["shapes"][0], "what is continued comes first"


def test_long_conditions_are_asked_for_in_several_messages() -> None:
    session = copying()
    where = "x" * (limits.INBOUND_FRAME_BYTES // 4)
    requests = [frames.ShapeRequest(id=f"{i}", table="t", where=where) for i in range(3)]
    session.subscribe_all(requests)
    assert [len(message["shapes"]) for message in said(session)] == [1, 1, 1]


# --- resets ---


def test_what_was_live_gets_a_new_copy_after_a_reset() -> None:
    session = live()
    reset = {"type": "reset", "shape": "s1", "reason": "other_history", "epoch": "e1"}
    assert told(session, **reset) == [WasReset(("n",), "other_history")]
    assert session.is_loading
    commit(session, "0/6", row(9))  # of the others; it is not for rows that stand still
    chunk(session, 0, 1, last=True)
    assert again(session) == [resume(1)], "not from a position"
    accept(session, "n")
    went(session, *up_to(session, "0/9", "n"))


def test_a_reset_of_all_finds_copies_under_way_and_leaves_them_alone() -> None:
    session = live()
    session.subscribe("m", "notes")
    accept(session, "m", shape="s2")
    chunk(session, 0, 1, shape="s2", copy="c2", last=True)
    session.subscribe("o", "notes")
    assert told(session, type="reset", reason="lagged", epoch="e1") == [
        WasReset(("n", "m"), "lagged")
    ]
    assert up_to(session, "0/9", "m") == [Progressed(Lsn(9), ("m",))]


def test_copies_under_way_are_worth_nothing_in_a_new_epoch() -> None:
    session = copying()
    chunk(session, 0, 1, last=True)
    told(session, type="reset", reason="other_history", epoch="e2")
    with pytest.raises(ProtocolError):
        up_to(session, "0/9", "n")
    session = copying()
    chunk(session, 0, 1)
    told(session, type="reset", reason="other_history", epoch="e2")
    with pytest.raises(ProtocolError):
        chunk(session, 1, 1)


def test_a_changed_table_is_asked_for_again_from_nothing() -> None:
    session = live()
    assert told(session, type="reset", shape="s1", reason="schema_changed", epoch="e1") == [
        WasReset(("n",), "schema_changed")
    ]
    assert asked(session) == [{"id": "n", "table": "notes"}]
    accept(session, "n", shape="s2", columns=[["id", "int4"]])
    chunk(session, 0, shape="s2", rows=[[1]], last=True)
    went(session, *up_to(session, "0/6", "n"))


def test_a_server_that_sends_rows_again_has_reset_without_a_word() -> None:
    session = live()
    again(session)
    (reset, event) = accept(session, "n")
    assert reset == WasReset(("n",), "other_history")
    assert isinstance(event, Joined)
    assert event.mode == "initial"
    assert told(session, type="reset", shape="s1", reason="lagged", epoch="e1") == [
        WasReset(("n",), "lagged")
    ]
    chunk(session, 0, 1, last=True)
    went(session, *up_to(session, "0/4", "n"))


def test_a_reset_before_the_answer_counts_for_what_was_to_be_continued() -> None:
    session = live()
    again(session)
    assert told(session, type="reset", reason="lagged", epoch="e1") == [WasReset(("n",), "lagged")]
    (event,) = accept(session, "n")
    assert isinstance(event, Joined)


def test_after_starting_over_everything_is_asked_for_from_nothing() -> None:
    session = live()
    session.subscribe("m", "notes")
    session.subscribe("c", "notes", initial=False)
    accept(session, "m")
    accept(session, "c", mode="live")
    chunk(session, 0, 1)
    session.disconnect()
    session.start_over()
    assert session.is_loading
    welcome(session)
    assert asked(session) == [
        {"id": "n", "table": "notes"},
        {"id": "m", "table": "notes"},
        {"id": "c", "table": "notes", "initial": False},
    ]
    accept(session, "n", "m")
    assert up_to(session, "0/1") == [Progressed(Lsn(1))], "a position of any height"


# --- refusals ---


@pytest.mark.parametrize("code", ["unavailable", "too_large"])
@pytest.mark.parametrize("is_whole", [False, True])
def test_a_copy_fails_and_may_be_asked_for_again_or_not(code: str, is_whole: bool) -> None:
    session = copying()
    chunk(session, 0, 1, last=is_whole)
    assert told(session, type="error", code=code, text="?", ref="n") == [
        Refused(code, "?", "n", has_ended=True)
    ]
    session.ask_again("n")
    if code == "too_large":
        assert said(session) == []
        return
    assert asked(session) == [{"id": "n", "table": "notes"}]
    accept(session, "n")
    chunk(session, 0, 1, last=True)
    went(session, *up_to(session, "0/5", "n"))


def test_those_that_were_refused_together_are_asked_for_again_together() -> None:
    session = copying("m")
    for id in ("n", "m"):
        told(session, type="error", code="unavailable", text="?", ref=id)
    session.ask_again("m", "n", "nobody")
    assert [each["id"] for each in asked(session)] == ["m", "n"]
    session.disconnect()
    session.ask_again("m")
    assert said(session) == []


def test_refused_after_coming_back_it_is_continued_while_nobody_has_moved_on() -> None:
    session = live()
    start = {"epoch": "e1", "lsn": "0/5", "tag": "tag-0/5"}
    (first,) = again(session)
    told(session, type="error", code="unavailable", text="?", ref="n")
    session.ask_again("n")
    assert asked(session) == [first] == [{"id": "n", "table": "notes", "from": start}]
    told(session, type="error", code="unavailable", text="?", ref="n")
    assert up_to(session, "0/5") == [Progressed(Lsn(5))]
    assert again(session) == [first]


def test_refused_while_others_move_on_it_starts_over_and_is_told_so() -> None:
    session = live("m")
    again(session)
    accept(session, "m", mode="catchup")
    told(session, type="error", code="unavailable", text="?", ref="n")
    assert up_to(session, "0/6") == [WasReset(("n",), "lagged"), Progressed(Lsn(6))]
    session.ask_again("n")
    assert asked(session) == [{"id": "n", "table": "notes"}]


# --- waiting for a position ---


def test_a_wait_is_sent_once_and_again_on_the_next_connection() -> None:
    session = live()
    session.wait(Lsn(9))
    session.wait(Lsn(9))
    assert said(session) == [{"type": "wait", "lsn": "0/9"}]
    session.disconnect()
    session.wait(Lsn(8))
    assert said(session) == []
    welcome(session)
    _, *waits = said(session)
    assert waits == [{"type": "wait", "lsn": "0/8"}, {"type": "wait", "lsn": "0/9"}]
    told(session, **NOTES | {"mode": "catchup"})
    up_to(session, "0/8")
    session.wait(Lsn(10))
    session.stop_waiting(Lsn(10))
    session.take()
    session.disconnect()
    welcome(session)
    _, *waits = said(session)
    assert waits == [{"type": "wait", "lsn": "0/9"}], "what is reached or given up is not asked for"


def test_not_more_waits_are_sent_than_a_connection_may_have() -> None:
    session = live()
    for number in range(limits.WAITS + 1):
        session.wait(Lsn(100 + number))
    assert len(said(session)) == limits.WAITS
    session.disconnect()
    welcome(session)
    assert len(said(session)) == limits.WAITS + 1, "and the subscriptions"


def test_commits_only_do_not_load() -> None:
    assert not joined().is_loading
