"""Goal: the client's session asks for the right things and hands out whole commits in order.

Method: messages of a server as JSON go in, events and messages to send come out.
"""

from __future__ import annotations

import pytest

from engine.tests.core.session.server_messages import (
    COLUMNS,
    NOTES,
    commit,
    joined,
    row,
    said,
    told,
    up_to,
    welcome,
)
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.session.client import (
    ClientSession,
    Committed,
    Joined,
    Opened,
    Progressed,
    Refused,
    RowChange,
    State,
    WasReset,
)
from tidewire.core.stream.cursor import Cursor
from tidewire.errors import ProtocolError

# --- subscribing ---


def test_a_connection_begins_with_hello_and_the_token() -> None:
    session = ClientSession("me", token="secret")
    session.connect()
    assert said(session) == [{"type": "hello", "client": "me", "token": "secret"}]
    assert session.state is State.OPENING


def test_what_was_wanted_before_the_connection_is_asked_for_in_one_message() -> None:
    session = ClientSession("me")
    session.subscribe("a", "notes")
    session.subscribe("b", "tasks", initial=False)
    assert said(session) == []
    assert welcome(session) == [Opened("x", "e1")]
    shapes = [{"id": "a", "table": "notes"}, {"id": "b", "table": "tasks", "initial": False}]
    assert said(session) == [{"type": "subscribe", "shapes": shapes}]


def test_without_subscriptions_nothing_is_asked_for() -> None:
    session = ClientSession("me")
    welcome(session)
    assert (session.state, said(session)) == (State.OPEN, [])


def test_what_is_wanted_while_connected_is_asked_for_at_once() -> None:
    session = ClientSession("me")
    welcome(session)
    session.subscribe("a", "notes", initial=False)
    shapes = [{"id": "a", "table": "notes", "initial": False}]
    assert said(session) == [{"type": "subscribe", "shapes": shapes}]
    columns = tuple((name, its) for name, its in COLUMNS)
    assert told(session, **NOTES | {"id": "a"}) == [
        Joined("a", "public.notes", columns, ("id",), "live")
    ]


def test_a_subscription_that_is_given_up_is_taken_back_once() -> None:
    session = joined()
    session.unsubscribe("n")
    session.unsubscribe("n")
    assert said(session) == [{"type": "unsubscribe", "id": "n"}]
    assert told(session, **NOTES) == [], "an answer that was under way means nothing"
    assert commit(session, "0/2", row(1)) == [Committed(Lsn(2), 5, 6, ({},))]


def test_a_subscription_that_is_given_up_while_there_is_no_connection_is_not_mentioned() -> None:
    session = joined()
    session.disconnect()
    session.unsubscribe("n")
    welcome(session)
    assert said(session) == []


def test_a_new_connection_forgets_what_was_to_be_sent_on_the_old_one() -> None:
    session = joined()
    session.unsubscribe("n")
    session.disconnect()
    session.connect()
    assert [message["type"] for message in said(session)] == ["hello"]


# --- coming back ---


@pytest.mark.parametrize("by_commit", [True, False])
def test_who_comes_back_goes_on_where_it_left_off(by_commit: bool) -> None:
    session = joined("tasks")
    up_to(session, "0/9")
    if by_commit:
        commit(session, "1/A", row(1))
    else:
        up_to(session, "1/A")
    assert session.cursor == Cursor("e1", Lsn(0x1_0000_000A), "tag-1/A")
    session.disconnect()
    welcome(session)
    start = {"epoch": "e1", "lsn": "1/A", "tag": "tag-1/A"}
    (message,) = said(session)
    assert message["shapes"] == [
        {"id": "n", "table": "notes", "initial": False, "from": start},
        {"id": "tasks", "table": "tasks", "initial": False, "from": start},
    ]


def test_the_names_of_shapes_belong_to_one_connection() -> None:
    session = joined()
    session.disconnect()
    welcome(session)
    with pytest.raises(ProtocolError, match="nobody has"):
        commit(session, "0/2", row(1))


def test_the_position_never_goes_back_within_an_epoch() -> None:
    session = joined()
    commit(session, "0/5", row(1))
    assert up_to(session, "0/5") == [Progressed(Lsn(5))], "to stand still is fine"
    with pytest.raises(ProtocolError, match="went back"):
        up_to(session, "0/4")
    with pytest.raises(ProtocolError, match="went back"):
        commit(session, "0/4", row(1))


def test_positions_of_another_epoch_begin_anew() -> None:
    session = joined()
    commit(session, "0/9", row(1))
    told(session, type="reset", reason="other_history", epoch="e2")
    assert up_to(session, "0/4") == [Progressed(Lsn(4))]
    assert session.cursor == Cursor("e2", Lsn(4), "tag-0/4")


def test_who_comes_back_without_subscriptions_may_meet_a_node_that_is_behind() -> None:
    session = joined()
    up_to(session, "0/9")
    session.unsubscribe("n")
    session.disconnect()
    welcome(session)
    session.subscribe("n", "notes", initial=False)
    told(session, **NOTES)
    assert up_to(session, "0/4") == [Progressed(Lsn(4))]


@pytest.mark.parametrize("lsn", ["", "0", "0/G", "1/2/3"])
def test_a_position_that_is_none_breaks_the_protocol(lsn: str) -> None:
    session = joined()
    for act in (commit, up_to):
        with pytest.raises(ProtocolError) as caught:
            act(session, lsn)
        assert caught.value.code == "bad_frame"


# --- commits in parts ---


def test_a_commit_in_parts_is_handed_out_whole_with_the_last() -> None:
    session = joined()
    assert commit(session, "0/2", row(1), part=0, last=False) == []
    assert commit(session, "0/2", row(2), part=1, last=False) == []
    before = session.cursor
    (event,) = commit(session, "0/2", row(3), part=2, last=True)
    assert isinstance(event, Committed)
    assert [change.key for change in event.changes["n"]] == [(1,), (2,), (3,)]
    assert (before, session.cursor) == (None, Cursor("e1", Lsn(2), "tag-0/2"))
    (event,) = commit(session, "0/3", row(4))
    assert isinstance(event, Committed)
    assert [change.key for change in event.changes["n"]] == [(4,)]


def test_a_commit_in_one_part_is_whole() -> None:
    (event,) = commit(joined(), "0/2", row(1), part=0, last=True)
    assert isinstance(event, Committed)
    assert len(event.changes["n"]) == 1


def test_parts_that_begin_again_take_the_place_of_those_before() -> None:
    session = joined()
    commit(session, "0/2", row(1), part=0, last=False)
    commit(session, "0/2", row(1), part=0, last=False)
    (event,) = commit(session, "0/2", row(2), part=1, last=True)
    assert isinstance(event, Committed)
    assert [change.key for change in event.changes["n"]] == [(1,), (2,)]


@pytest.mark.parametrize("parts", [[1], [0, 2], [0, 1, 1]])
def test_a_part_that_is_missing_or_comes_twice_breaks_the_protocol(parts: list[int]) -> None:
    session = joined()
    for part in parts[:-1]:
        commit(session, "0/2", row(part), part=part, last=False)
    with pytest.raises(ProtocolError, match="part"):
        commit(session, "0/2", row(9), part=parts[-1], last=True)


def test_half_a_commit_is_forgotten_with_its_connection() -> None:
    session = joined()
    commit(session, "0/2", row(1), part=0, last=False)
    session.disconnect()
    assert session._parts == {False: [], True: []}
    welcome(session)
    told(session, **NOTES)
    (event,) = commit(session, "0/3", row(2), part=0, last=True)
    assert isinstance(event, Committed)
    assert [change.key for change in event.changes["n"]] == [(2,)]


def test_half_a_commit_is_forgotten_when_all_is_reset() -> None:
    session = joined()
    commit(session, "0/2", row(1), part=0, last=False)
    told(session, type="reset", reason="lagged", epoch="e1")
    (event,) = commit(session, "0/3", row(2))
    assert isinstance(event, Committed)
    assert [change.key for change in event.changes["n"]] == [(2,)]


def test_the_rest_of_a_commit_in_parts_is_not_sent_and_another_commit_comes() -> None:
    """The table was given up in the middle, so the server has nothing more to say of it."""
    session = joined("tasks")
    commit(session, "0/2", row(1), part=0, last=False)
    session.unsubscribe("n")
    session.subscribe("again", "notes", initial=False)
    told(session, **NOTES | {"id": "again"})
    (event,) = commit(session, "0/3", parts=[{"shape": "tasks", "changes": [row(2)]}])
    assert isinstance(event, Committed)
    assert event.changes.keys() == {"tasks"}, "no half of a commit, and not under another's name"


# --- resets and refusals ---


def test_a_reset_of_all_forgets_the_position() -> None:
    session = joined("tasks")
    up_to(session, "0/5")
    assert told(session, type="reset", reason="lagged", epoch="e1") == [
        WasReset(("n", "tasks"), "lagged")
    ]
    assert session.cursor is None
    assert said(session) == [], "the server goes on by itself"


def test_a_reset_of_one_shape_concerns_its_subscriptions_alone() -> None:
    session = joined("tasks")
    session.subscribe("m", "notes", initial=False)
    told(session, **NOTES | {"id": "m"})
    session.take()
    up_to(session, "0/5")
    assert told(session, type="reset", shape="s1", reason="other_history", epoch="e1") == [
        WasReset(("n", "m"), "other_history")
    ]
    assert session.cursor == Cursor("e1", Lsn(5), "tag-0/5")
    assert said(session) == []


def test_a_table_that_changed_is_asked_for_again_as_it_is_now() -> None:
    session = joined("tasks")
    up_to(session, "0/5")
    reset = {"type": "reset", "shape": "s1", "reason": "schema_changed", "epoch": "e1"}
    assert told(session, **reset) == [WasReset(("n",), "schema_changed")]
    shapes = [{"id": "n", "table": "notes", "initial": False}]
    assert said(session) == [{"type": "subscribe", "shapes": shapes}]
    told(session, **NOTES | {"shape": "s9", "columns": [["id", "int4"]]})
    (event,) = commit(session, "0/6", parts=[{"shape": "s9", "changes": [["i", [1]]]}])
    assert isinstance(event, Committed)
    assert event.changes == {"n": [RowChange("insert", (1,), {"id": 1})]}


def test_a_changed_table_that_nobody_has_is_not_asked_for() -> None:
    session = joined()
    reset = {"type": "reset", "shape": "gone", "reason": "schema_changed", "epoch": "e1"}
    assert told(session, **reset) == [WasReset((), "schema_changed")]
    assert said(session) == []


def test_a_refused_subscription_is_forgotten_and_not_asked_for_again() -> None:
    session = ClientSession("me")
    session.subscribe("n", "nothing")
    welcome(session)
    session.take()
    error = {"type": "error", "code": "unknown_table", "text": "no such table", "ref": "n"}
    assert told(session, **error) == [
        Refused("unknown_table", "no such table", "n", has_ended=True)
    ]
    session.unsubscribe("n")
    session.disconnect()
    welcome(session)
    assert said(session) == []


def test_a_subscription_refused_after_its_table_changed_is_forgotten_too() -> None:
    session = joined()
    told(session, type="reset", shape="s1", reason="schema_changed", epoch="e1")
    told(session, type="error", code="unsupported_table", text="it has no key now", ref="n")
    session.disconnect()
    welcome(session)
    assert said(session) == []


@pytest.mark.parametrize("has_cursor", [False, True])
def test_a_subscription_refused_for_now_can_be_repeated(has_cursor: bool) -> None:
    session = joined() if has_cursor else ClientSession("me")
    session.subscribe("later", "tasks")
    if has_cursor:
        up_to(session, "0/5")
    else:
        welcome(session)
    session.take()
    session.ask_again("later")
    assert said(session) == [], "it is asked for already"
    told(session, type="error", code="unavailable", text="no database", ref="later")
    session.ask_again("later")
    # It was never accepted, so the cursor of the others says nothing about it.
    shapes = [{"id": "later", "table": "tasks"}]
    assert said(session) == [{"type": "subscribe", "shapes": shapes}]
    session.ask_again("nobody")
    assert said(session) == []


def test_a_subscription_that_the_server_does_not_have_is_given_up_in_silence() -> None:
    session = ClientSession("me")
    session.subscribe("later", "tasks")
    welcome(session)
    session.take()
    told(session, type="error", code="unavailable", text="no database", ref="later")
    session.unsubscribe("later")
    assert said(session) == []
    session.disconnect()
    session.subscribe("again", "tasks")
    session.ask_again("again")
    assert said(session) == []


def test_an_error_about_something_else_leaves_the_subscriptions_alone() -> None:
    session = joined()
    for ref in (None, "n", "other"):
        error = {"type": "error", "code": "bad_frame", "text": "?", "ref": ref}
        assert told(session, **error) == [Refused("bad_frame", "?", ref)]
    (event,) = commit(session, "0/2", row(1))
    assert isinstance(event, Committed)
    assert event.changes.keys() == {"n"}


def test_a_pong_is_no_event() -> None:
    assert told(joined(), type="pong", t=1) == []


def test_a_part_without_the_one_before_breaks_the_protocol() -> None:
    session = joined()
    commit(session, "0/2", row(1), part=0, last=False)
    with pytest.raises(ProtocolError, match="part of a commit is missing"):
        commit(session, "0/2", row(2), part=2, last=True)


# --- what another process had ---


def test_what_another_process_had_is_gone_on_with_from_its_cursor() -> None:
    session = ClientSession("me")
    requests = [frames.ShapeRequest(id="n", table="notes"), frames.ShapeRequest(id="7", table="t")]
    session.go_on(Cursor("e1", Lsn(5), "tag"), requests)
    assert (session.is_loading, session.cursor) == (False, Cursor("e1", Lsn(5), "tag"))
    welcome(session)
    assert session.welcomed_at == Lsn(1)
    start = {"epoch": "e1", "lsn": "0/5", "tag": "tag"}
    shapes = [
        {"id": "n", "table": "notes", "from": start},
        {"id": "7", "table": "t", "from": start},
    ]
    assert said(session) == [{"type": "subscribe", "shapes": shapes}]
    for id in ("n", "7"):
        (event,) = told(session, **NOTES | {"id": id, "mode": "catchup"})
        assert isinstance(event, Joined)
    (committed,) = commit(session, "0/6", row(1))
    assert isinstance(committed, Committed)
    assert session.cursor == Cursor("e1", Lsn(6), "tag-0/6")


def test_what_another_process_had_is_lost_when_the_server_cannot_go_on() -> None:
    session = ClientSession("me")
    session.go_on(Cursor("e1", Lsn(5), "tag"), [frames.ShapeRequest(id="n", table="notes")])
    welcome(session, "e2")
    events = told(session, **NOTES | {"mode": "initial"})
    assert [type(event) for event in events] == [WasReset, Joined]
    assert (session.is_loading, session.cursor) == (True, None)
