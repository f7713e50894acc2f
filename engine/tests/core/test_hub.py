"""Goal: commits reach live sessions once, in order and shared; what sessions ask is answered.

Method: the real hub with recorded connections (`bench`). What concerns sessions that read the log
is in `test_hub_behind.py`, large commits in `test_hub_large.py`, storms in `test_hub_model.py`.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    EPOCH,
    FLOOR,
    LONG,
    NOTES,
    TASKS,
    Node,
    Peer,
    cursor,
    kinds,
    lsns,
    make_table,
    transaction,
)
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.session.server import State
from tidewire.errors import DecodeError


def is_empty(node: Node) -> bool:
    hub = node.hub
    held = (hub.sessions, list(hub._live._audiences), hub._ready, hub._joining._ahead)
    return len(hub.index) == 0 and not any(held) and not hub.index.tables


# --- live ---


def test_a_session_is_welcomed_with_epoch_and_progress() -> None:
    node = Node()
    node.deliver(transaction(0x1_0000_0200, NOTES.insert(1)))
    (message,) = node.open().heard()
    assert (message["type"], message["epoch"], message["lsn"]) == ("welcome", EPOCH, "1/200")


def test_a_new_subscription_is_live_at_once_and_told_up_to_where() -> None:
    node = Node()
    node.deliver(transaction(0x200, NOTES.insert(1)))
    peer = node.open()
    peer.take()
    node.join(peer, NOTES)
    node.settle()
    subscribed, up_to_date = peer.heard()
    assert (subscribed["type"], subscribed["mode"]) == ("subscribed", "live")
    assert up_to_date == {"type": "up_to_date", "lsn": "0/200", "tag": node.hub.history.tag}


def test_commits_come_in_order_to_those_who_have_the_table() -> None:
    node = Node()
    notes, tasks, both = node.live("n", NOTES), node.live("t", TASKS), node.live("b", NOTES, TASKS)
    node.deliver(
        transaction(0x200, NOTES.insert(1)),
        transaction(0x210, TASKS.insert(1)),
        transaction(0x220, NOTES.insert(2), TASKS.insert(2)),
    )
    node.deliver(transaction(0x230, NOTES.insert(3)))
    assert lsns(notes.heard()) == [0x200, 0x220, 0x230]
    assert lsns(tasks.heard()) == [0x210, 0x220]
    assert lsns(both.heard()) == [0x200, 0x210, 0x220, 0x230]
    assert node.turns_wanted == 0, "nobody had to read the log"


def test_a_delivery_is_written_once_to_each_session_it_concerns() -> None:
    node = Node()
    notes, tasks = node.live("n", NOTES), node.live("t", TASKS)
    node.deliver(*(transaction(0x200 + i, NOTES.insert(i)) for i in range(5)))
    assert (len(notes.take()), len(tasks.take())) == (1, 0)


def test_a_session_without_a_socket_to_write_to_is_flushed() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    peer.session.write = peer.session._write_soon
    node.deliver(transaction(0x200, NOTES.insert(1)))
    assert lsns(peer.heard()) == [0x200]


def test_a_long_delivery_does_not_run_over_the_window() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.deliver(*(transaction(0x200 + i, NOTES.insert(i, LONG)) for i in range(100)))
    room = limits.WINDOW_BYTES + limits.WINDOW_MARK_BYTES + 2 * len(LONG)
    assert limits.WINDOW_BYTES <= sum(map(len, peer.take())) <= room
    assert not peer.session.is_live


def test_all_who_see_the_same_part_of_a_commit_are_sent_the_same_object() -> None:
    node = Node()
    peers = [node.live("a", NOTES), node.live("b", NOTES), node.live("c", NOTES, TASKS)]
    node.deliver(transaction(0x200, NOTES.insert(1)))
    first, *others = [peer.take()[0] for peer in peers]
    assert all(frame is first for frame in others)


def test_a_commit_that_nobody_sees_is_in_the_log_and_no_one_is_disturbed() -> None:
    node = Node()
    peer = node.live("n", NOTES)
    flushes = peer.flushes
    node.deliver(transaction(0x200, make_table("strangers", 99).insert(1)))
    assert (peer.flushes, node.hub.history.progress) == (flushes, 0x200)
    assert node.hub._encoder._cache == {}


def test_an_unsound_row_does_not_hold_back_the_commits_before_it() -> None:
    node = Node()
    peer = node.live("n", NOTES)
    relation, message = NOTES.insert(2)
    with pytest.raises(DecodeError):
        node.deliver(
            transaction(0x200, NOTES.insert(1)), transaction(0x210, (relation, message[:-1]))
        )
    assert lsns(peer.heard()) == [0x200]
    assert node.hub.history.progress == 0x200
    node.deliver(transaction(0x220, NOTES.insert(3)))
    assert lsns(peer.heard()) == [0x220]


# --- subscribing and giving up ---


def test_shapes_of_one_frame_become_live_together_and_are_told_first() -> None:
    node = Node()
    peer = node.open()
    peer.take()
    node.join(peer, NOTES, TASKS)
    assert kinds(peer.heard()) == ["subscribed", "subscribed"]
    node.settle()
    assert kinds(peer.heard()) == ["up_to_date"]


def test_a_second_table_joins_while_the_first_goes_on_without_a_gap() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.deliver(transaction(0x200, NOTES.insert(1), TASKS.insert(1)))
    node.join(peer, TASKS)
    node.deliver(transaction(0x210, NOTES.insert(2), TASKS.insert(2)))
    node.settle()
    first, subscribed, second, up_to_date = peer.heard()
    assert kinds([first, subscribed, second, up_to_date]) == [
        "commit",
        "subscribed",
        "commit",
        "up_to_date",
    ]
    assert [len(commit["parts"]) for commit in (first, second)] == [1, 2]


def test_a_table_given_up_is_silent_while_the_other_goes_on() -> None:
    node = Node()
    peer = node.live("p", NOTES, TASKS)
    assert node.say(peer, frames.Unsubscribe(id="notes")) == ()
    node.settle()
    node.deliver(transaction(0x200, NOTES.insert(1)), transaction(0x210, TASKS.insert(1)))
    assert lsns(peer.heard()) == [0x210]
    assert len(node.hub.index) == 1


def test_who_gives_up_the_last_table_is_told_nothing_more_and_may_begin_again() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.say(peer, frames.Unsubscribe(id="notes"))
    node.settle()
    node.deliver(transaction(0x200, NOTES.insert(1)))
    node.hub.tick(1.0)
    assert peer.heard() == []
    assert list(node.hub._live._audiences) == []
    node.join(peer, NOTES)
    node.settle()
    node.deliver(transaction(0x210, NOTES.insert(2)))
    assert lsns(peer.heard()) == [0x210]


def test_who_gives_up_while_waiting_for_a_turn_is_told_nothing() -> None:
    node = Node()
    peer = node.open()
    node.join(peer, NOTES)
    node.say(peer, frames.Unsubscribe(id="notes"))
    peer.take()
    node.settle()
    assert peer.heard() == []
    assert list(node.hub._live._audiences) == []


def test_the_log_began_anew_before_the_turn_of_a_session_that_has_given_up() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    other = node.live("o", TASKS)
    node.deliver(transaction(0x200, NOTES.insert(1)))
    node.say(peer, frames.Unsubscribe(id="notes"))
    node.hub.restart("epoch-2", Lsn(0x300))
    node.join(peer, NOTES)
    node.say(peer, frames.Unsubscribe(id="notes"))
    node.settle()
    assert other.session.is_live


def test_an_id_that_is_taken_is_not_asked_of_the_catalog() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    assert node.ask(peer, NOTES) == []
    assert [m["code"] for m in peer.heard()] == ["id_in_use"]


def test_two_subscriptions_to_one_table_are_one_shape() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    node.join(peer, NOTES, prefix="again ")
    assert len(node.hub.index) == 1
    node.say(peer, frames.Unsubscribe(id="notes"))
    node.settle()
    node.deliver(transaction(0x200, NOTES.insert(1)))
    assert lsns(peer.heard()) == [0x200]


def test_a_refused_subscription_is_told_and_its_id_is_free_again() -> None:
    node = Node()
    peer = node.open()
    ((request, _),) = node.ask(peer, NOTES)
    peer.take()
    node.hub.refuse(peer.session, request, "unknown_table", "no such table")
    (message,) = peer.heard()
    assert (message["code"], message["ref"]) == ("unknown_table", "notes")
    assert len(node.ask(peer, NOTES)) == 1


def test_a_catalog_that_answers_too_late_is_not_heard() -> None:
    node = Node()
    peer = node.open()
    wanted = node.ask(peer, NOTES)
    node.say(peer, frames.Unsubscribe(id="notes"))
    peer.take()
    node.hub.refuse(peer.session, wanted[0][0], "unknown_table", "no such table")
    node.hub.join(peer.session, wanted)
    assert (peer.heard(), len(node.hub.index)) == ([], 0)
    wanted = node.ask(peer, NOTES)
    node.hub.leave(peer.session)
    node.hub.join(peer.session, wanted)
    assert is_empty(node)


def test_an_id_given_up_and_used_again_is_of_the_table_asked_for_last() -> None:
    node = Node()
    peer = node.open()
    request = frames.ShapeRequest(id="x", table="notes")
    first = node.say(peer, frames.Subscribe(shapes=[request]))
    node.say(peer, frames.Unsubscribe(id="x"))
    again = frames.ShapeRequest(id="x", table="tasks")
    second = node.say(peer, frames.Subscribe(shapes=[again]))
    node.hub.join(peer.session, [(first[0], NOTES.spec)])
    node.hub.join(peer.session, [(second[0], TASKS.spec)])
    (stage,) = peer.session.stages
    assert [(id, shape.spec) for id, shape in stage.subscriptions()] == [("x", TASKS.spec)]


# --- time, the end ---


def test_progress_is_told_once_and_only_when_there_is_news() -> None:
    node = Node()
    peer, idle = node.live("p", NOTES), node.open("idle")
    idle.take()
    node.hub.tick(1.0)
    assert peer.heard() == []
    node.hub.advance(Lsn(0x250))
    node.hub.tick(2.0)
    assert peer.heard() == [{"type": "up_to_date", "lsn": "0/250", "tag": ""}]
    node.hub.tick(3.0)
    assert (peer.heard(), idle.heard()) == ([], [])


def test_a_commit_is_news_enough_for_those_who_got_it() -> None:
    node = Node()
    notes, tasks = node.live("n", NOTES), node.live("t", TASKS)
    node.deliver(transaction(0x200, NOTES.insert(1)))
    node.hub.tick(1.0)
    assert kinds(notes.heard()) == ["commit"]
    told = {"type": "up_to_date", "lsn": "0/200", "tag": transaction(0x200).tag}
    assert tasks.heard() == [told]


def test_a_tick_wakes_the_sessions_whose_time_has_come() -> None:
    node = Node()
    silent = Peer("silent", 0.0)
    node.hub.open(silent.session)
    open_ = node.open("open")
    told = []
    for now in (limits.HELLO_S - 0.1, limits.HELLO_S):
        node.hub.tick(now)
        told.append((silent.closed_as, open_.closed_as))
    assert told == [(None, None), ("hello_timeout", None)]


def test_a_tick_lets_the_log_expire() -> None:
    node = Node()
    node.deliver(transaction(0x200, NOTES.insert(1)), transaction(0x210, NOTES.insert(2)))
    node.hub.tick(limits.LOG_S + 1)
    assert node.hub.history.floor == 0x200


def test_another_history_resets_all_who_have_shapes() -> None:
    node = Node()
    live, behind, idle = node.live("live", NOTES), node.live("behind", NOTES), node.open("idle")
    node.fill_window(behind)
    node.deliver(transaction(0x200, NOTES.insert(1)))
    new = Peer("new")
    node.hub.open(new.session)
    for peer in (live, behind, idle):
        peer.take()
    node.hub.restart("epoch-2", Lsn(0x80))
    assert new.heard() == [], "who has not said hello yet is welcomed with the new epoch"
    node.settle()
    reset = {"type": "reset", "reason": "other_history", "epoch": "epoch-2"}
    told = {"type": "up_to_date", "lsn": "0/80", "tag": ""}
    assert live.heard() == [reset, told]
    assert behind.heard() == [reset, told]
    assert "up_to_date" not in kinds(idle.heard()), "who has no shapes has nothing to hear of"
    node.acknowledge(behind)
    node.deliver(transaction(0x90, NOTES.insert(2)))
    assert [lsns(peer.heard()) for peer in (live, behind)] == [[0x90], [0x90]]


def test_another_history_does_not_send_what_was_encoded_for_the_one_before() -> None:
    node = Node()
    node.live("holds the shape", NOTES)
    node.deliver(transaction(0x200, NOTES.insert(1)))
    node.hub.restart("epoch-2", FLOOR)
    node.deliver(transaction(0x200, make_table("strangers", 99).insert(1)))
    peer = node.open()
    node.join(peer, NOTES, start=cursor(int(FLOOR), epoch="epoch-2", tag=""))
    node.settle()
    assert lsns(peer.heard()) == []


def test_who_joins_after_the_history_changed_knows_the_epoch_to_come_back_to() -> None:
    """Its welcome named the old one, so somebody has to tell it of the new."""
    node = Node()
    peer = node.open()
    node.hub.restart("epoch-2", Lsn(0x80))
    node.join(peer, NOTES)
    node.settle()
    epochs = [message["epoch"] for message in peer.heard() if "epoch" in message]
    assert epochs[-1] == "epoch-2"


def test_a_session_leaves_in_any_state_and_nothing_is_left_behind() -> None:
    node = Node()
    new, opened, pending = Peer(), node.open(), node.open()
    node.hub.open(new.session)
    node.ask(pending, NOTES)
    live, twice = node.live("l", NOTES, TASKS), node.live("t", NOTES)
    node.join(twice, NOTES, prefix="again ")
    node.settle()
    behind = node.live("b", TASKS)
    node.fill_window(behind)
    node.deliver(transaction(0x200, TASKS.insert(1)))
    ahead = node.open()
    node.join(ahead, NOTES, start=cursor(0x900))
    closed = node.live("c", NOTES)
    closed.session.close("restart", "bye")
    waiting = node.open()
    node.join(waiting, NOTES)
    assert node.hub._ready
    everyone = [new, opened, pending, waiting, live, twice, behind, ahead, closed]
    assert set(node.hub.sessions) == {peer.session for peer in everyone}
    for peer in everyone:
        node.hub.leave(peer.session)
        node.hub.leave(peer.session)
    assert is_empty(node)
    assert all(peer.session.state is State.CLOSED for peer in everyone)
    node.settle()
    node.deliver(transaction(0x910, NOTES.insert(1)))
    assert is_empty(node)


def test_a_frame_of_a_session_that_was_closed_changes_nothing() -> None:
    node = Node()
    peer = node.live("p", NOTES)
    peer.session.close("restart", "bye")
    assert node.ask(peer, TASKS) == []
    node.hub.join(peer.session, [(frames.ShapeRequest(id="x", table="tasks"), TASKS.spec)])
    assert list(peer.session.shapes) == ["notes"]
