"""Goal: a subscription begins where the table of the module says, and ends without a trace.

Method: the real hub with recorded connections; a `Mirror` reads them as a client has to, and says
which rows are shown. The database's answers to what the hub wants copied are given by hand.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    EPOCH,
    NOTES,
    TASKS,
    Node,
    cursor,
    kinds,
    lsns,
    make_table,
    transaction,
)
from engine.tests.core.mirror import (
    connect,
    copied,
    falls_behind,
    read_all,
)
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames

USERS = make_table("users", 3)
CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


def is_empty(node: Node) -> bool:
    """Tell whether nothing is left of any session, once the copies were kept long enough."""
    for now in (1e6, 1e6 + limits.COPY_KEEP_S):
        node.hub.tick(now)
    joining, copies = node.hub._joining, node.hub.copies
    held = (node.hub.sessions, node.hub._ready, node.hub._waiting, joining._ahead)
    return not any([*held, len(copies), copies._read_by, copies._followed, len(node.hub.index)])


# --- where they begin ---


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize(
    ("start", "mode", "reason"),
    [
        (None, "live", None),
        (cursor(0x210), "catchup", None),
        (cursor(0x900), "catchup", None),
        (cursor(0x10, tag=""), "catchup", "lagged"),
        (cursor(0x210, tag="another"), "catchup", "other_history"),
        (cursor(0x210, epoch="epoch-0"), "catchup", "other_history"),
    ],
)
def test_a_subscription_begins_where_its_request_says(
    start: frames.From | None, mode: str, reason: str | None, initial: bool
) -> None:
    node = Node()
    node.fill_log()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, start=start, initial=initial)
    node.settle()
    subscribed, *messages = mirror.read()
    is_staged = initial and (start is None or reason is not None)
    assert subscribed["mode"] == ("initial" if initial and start is None else mode)
    resets = [message["reason"] for message in messages if message["type"] == "reset"]
    assert resets == ([reason] if reason else [])
    assert [spec for _, spec in node.copies] == [NOTES.spec] * is_staged
    assert node.hub._joining.is_ahead(mirror.peer.session) is (start == cursor(0x900))


def test_shapes_of_one_message_are_shown_together() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, TASKS, initial=True)
    node.bring(NOTES, 1)
    mirror.read()
    assert mirror.shown == {}
    node.bring(TASKS, 2)
    mirror.read()
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([1], [2])
    assert len(set(mirror.at.values())) == 1


def test_shapes_of_two_messages_do_not_wait_for_one_another() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, initial=True)
    node.join(mirror.peer, TASKS, initial=True)
    node.bring(TASKS, 2)
    mirror.read()
    assert list(mirror.shown) == ["tasks"]
    node.deliver(transaction(0x200, TASKS.insert(3), NOTES.insert(3)))
    node.bring(NOTES, 3)
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([3], [2, 3])


def test_who_continues_may_take_rows_of_other_tables_in_the_same_message() -> None:
    node = Node()
    ends = node.fill_log()
    mirror = connect(node)
    wanted = [*node.ask(mirror.peer, NOTES, start=cursor(ends[1]), initial=True)]
    wanted += node.ask(mirror.peer, TASKS, initial=True)
    node.hub.join(mirror.peer.session, wanted)
    node.bring(TASKS, 7)
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == (ends[2:], [7])


def test_two_positions_for_one_shape_cannot_be_continued_together() -> None:
    node = Node()
    ends = node.fill_log()
    mirror = connect(node)
    wanted = [*node.ask(mirror.peer, NOTES, start=cursor(ends[0]))]
    wanted += node.ask(mirror.peer, NOTES, start=cursor(ends[1]), prefix="again ")
    node.hub.join(mirror.peer.session, wanted)
    node.settle()
    assert kinds(mirror.read()) == ["subscribed", "subscribed", "reset", "up_to_date"]


def test_a_table_that_is_in_the_stream_only_since_now_is_not_continued() -> None:
    node = Node()
    ends = node.fill_log()
    mirror = connect(node)
    wanted = node.ask(mirror.peer, NOTES, start=cursor(ends[0]), initial=True)
    wanted = [*wanted, *node.ask(mirror.peer, TASKS, start=cursor(ends[0]), initial=True)]
    node.hub.join(mirror.peer.session, wanted, fresh={"tasks"})
    node.bring(TASKS, 5)
    messages = read_all(node, mirror)
    assert [m["mode"] for m in messages if m["type"] == "subscribed"] == ["catchup", "initial"]
    assert (mirror.ids("notes"), mirror.ids("tasks")) == (ends[1:], [5])


def test_a_table_that_was_another_one_is_not_continued_and_its_copies_are_good() -> None:
    node = Node()
    ends = node.fill_log()
    early, mirror = connect(node, "early"), connect(node)
    node.join(early.peer, NOTES, initial=True)
    copy = node.bring(NOTES, *ends)
    wanted = [*node.ask(mirror.peer, NOTES, start=cursor(ends[0]), initial=True)]
    # What is told of a shape is told of all who have it, also of those who have shown more.
    wanted += node.ask(mirror.peer, NOTES, start=cursor(ends[0]), initial=True, prefix="as ")
    wanted += node.ask(mirror.peer, TASKS, start=cursor(ends[0]), initial=True)
    node.hub.join(mirror.peer.session, wanted, altered={"notes"}, fingerprints={"tasks": "f"})
    messages = read_all(node, mirror)
    assert [(m["mode"], m.get("fingerprint")) for m in messages if m["type"] == "subscribed"] == [
        ("initial", None),
        ("initial", None),
        ("catchup", "f"),
    ]
    assert [m["reason"] for m in messages if m["type"] == "reset"] == ["other_history"]
    assert mirror.ids("notes") == mirror.ids("as notes") == ends
    assert not copy.is_dead


def test_a_newcomer_has_nothing_that_could_be_of_another_table() -> None:
    node = Node()
    mirror = connect(node)
    wanted = node.ask(mirror.peer, NOTES)
    node.hub.join(mirror.peer.session, wanted, altered={"notes"})
    node.settle()
    assert kinds(mirror.read()) == ["subscribed", "up_to_date"]


def test_a_table_that_was_out_of_the_stream_is_not_read_from_an_old_copy() -> None:
    node = Node()
    early, late = connect(node, "early"), connect(node, "late")
    node.join(early.peer, NOTES, initial=True)
    node.splice(NOTES)
    old = node.copy_of(NOTES)
    wanted = node.ask(late.peer, NOTES, initial=True)
    node.hub.join(late.peer.session, wanted, fresh={"notes"})
    node.settle()
    assert old.is_dead
    node.bring(NOTES, 1, 2)
    for mirror in (early, late):
        read_all(node, mirror)
        assert mirror.ids("notes") == [1, 2]


# --- a cursor that comes while others are on their way ---


def test_a_stage_that_has_read_further_waits_for_who_goes_on_from_a_cursor() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, TASKS, USERS, initial=True)
    node.bring(TASKS)
    node.deliver(transaction(0x200, NOTES.insert(1)), transaction(0x210, TASKS.insert(2)))
    node.settle()
    node.join(mirror.peer, NOTES, start=cursor(0x100, tag=""))
    node.fill_window(mirror.peer)
    node.bring(USERS, until=0x100, seen=0x100)
    mirror.read()
    assert "tasks" not in mirror.shown, "what is staged is newer than what is live"
    node.acknowledge(mirror.peer)
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks"), mirror.ids("users")) == ([1], [2], [])


def test_nothing_is_shown_while_the_database_is_asked_about_a_cursor() -> None:
    """What is live would be told of a position that the cursor has not come to."""
    node = Node()
    ends = node.fill_log()
    mirror = connect(node)
    wanted = node.ask(mirror.peer, NOTES, start=cursor(ends[0]), initial=True)
    node.join(mirror.peer, TASKS, initial=True)
    node.bring(TASKS, 1)
    mirror.read()
    assert (mirror.shown, mirror.position) == ({}, 0)
    node.hub.join(mirror.peer.session, wanted)
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == (ends[1:], [1])


@pytest.mark.parametrize("is_refused", [True, False])
def test_a_stage_goes_on_when_the_cursor_comes_to_nothing(is_refused: bool) -> None:
    node = Node()
    mirror = connect(node)
    ((request, _),) = node.ask(mirror.peer, NOTES, start=cursor(0x100, tag=""))
    node.join(mirror.peer, TASKS, initial=True)
    node.bring(TASKS, 1)
    mirror.read()
    if is_refused:
        node.hub.refuse(mirror.peer.session, request, "unknown_table", "no such table")
    else:
        node.say(mirror.peer, frames.Unsubscribe(id="notes"))
    read_all(node, mirror)
    assert mirror.ids("tasks") == [1]


def test_who_was_given_up_and_comes_back_by_a_cursor_misses_nothing() -> None:
    """It had joined while its session was behind, and was not to get what lay before."""
    node = Node()
    node.live("has the shape, too", TASKS)
    mirror = connect(node)
    copied(node, mirror, NOTES)
    falls_behind(node, mirror, 0x200)
    node.deliver(transaction(0x210, TASKS.insert(1)))
    node.join(mirror.peer, TASKS)
    node.say(mirror.peer, frames.Unsubscribe(id="tasks"))
    node.say(mirror.peer, frames.Unsubscribe(id="notes"))
    node.acknowledge(mirror.peer)
    mirror.read()
    node.join(mirror.peer, TASKS, start=cursor(0x200), prefix="again ")
    assert lsns(read_all(node, mirror)) == [0x210]


def test_who_is_ahead_reads_no_copies_until_the_log_is_there() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, start=cursor(0x400), initial=True)
    node.join(mirror.peer, TASKS, initial=True)
    node.bring(TASKS, 1, until=0x350, seen=0x350)
    assert kinds(mirror.read()) == ["subscribed", "subscribed"]
    node.deliver(transaction(0x360, TASKS.insert(2)))
    node.settle()
    assert mirror.read() == []
    node.deliver(transaction(0x400, NOTES.insert(3)), transaction(0x410, NOTES.insert(4)))
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([4], [1, 2])


def test_who_gives_up_what_was_ahead_waits_no_longer() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, start=cursor(0x400), initial=True)
    node.join(mirror.peer, TASKS, initial=True)
    node.say(mirror.peer, frames.Unsubscribe(id="notes"))
    node.bring(TASKS, 1)
    messages = read_all(node, mirror)
    assert mirror.ids("tasks") == [1]
    assert "reset" not in kinds(messages)
    node.deliver(transaction(0x410, TASKS.insert(2)))
    assert kinds(mirror.read()) == ["commit"]


# --- cursors that are lost ---


def test_who_falls_off_the_log_is_copied_again_by_itself() -> None:
    node = Node(log_bytes=4_000)
    mirror = connect(node)
    copied(node, mirror, NOTES)
    node.join(mirror.peer, TASKS)
    read_all(node, mirror)
    node.fill_window(mirror.peer)
    ends = node.fill_log(20)
    node.acknowledge(mirror.peer)
    node.settle()
    reset, *_ = mirror.read()
    assert reset == {"type": "reset", "reason": "lagged", "epoch": EPOCH}
    assert list(mirror.shown) == ["tasks"], "it wants no rows, and goes on"
    node.deliver(transaction(0x900, NOTES.insert(1), TASKS.insert(1)))
    assert node.copy_of(NOTES).snapshot is None
    node.bring(NOTES, *ends, 1)
    read_all(node, mirror)
    assert (mirror.ids("notes"), mirror.ids("tasks")) == ([1, *ends], [1])
    node.deliver(transaction(0x910, NOTES.insert(2)))
    mirror.read()
    assert mirror.ids("notes") == [1, 2, *ends]


def test_all_that_are_copied_again_are_shown_together() -> None:
    node = Node()
    mirror = connect(node)
    copied(node, mirror, NOTES, TASKS)
    copied(node, mirror, USERS)
    node.hub.restart("epoch-2", Lsn(0x80))
    node.settle()
    assert [m for m in mirror.read() if m["type"] != "snapshot"] == [
        {"type": "reset", "reason": "other_history", "epoch": "epoch-2"}
    ]
    for table in (NOTES, TASKS, USERS):
        assert mirror.shown == {}
        node.bring(table, 1)
        read_all(node, mirror)
    assert list(mirror.shown) == ["notes", "tasks", "users"]


def test_a_reset_of_a_shape_is_true_for_all_that_have_it() -> None:
    """One of two equal subscriptions comes late with its cursor: the other was told, too."""
    node = Node()
    mirror = connect(node)
    copied(node, mirror, NOTES, TASKS)
    node.deliver(transaction(0x200, NOTES.insert(1)))
    node.join(mirror.peer, NOTES, start=cursor(0x100, tag=""), prefix="late ", initial=True)
    node.deliver(transaction(0x210, NOTES.insert(2), TASKS.insert(2)))
    messages = read_all(node, mirror)
    assert [m["reason"] for m in messages if m["type"] == "reset"] == ["other_history"]
    node.bring(NOTES, 1, 2)
    read_all(node, mirror)
    assert mirror.ids("notes") == mirror.ids("late notes") == [1, 2]
    node.deliver(transaction(0x220, NOTES.insert(3)))
    mirror.read()
    assert mirror.ids("notes") == mirror.ids("late notes") == [1, 2, 3]
    assert mirror.ids("tasks") == [2]


def test_a_cursor_that_is_lost_moves_nobody_else_who_is_behind() -> None:
    node = Node()
    mirror = connect(node)
    copied(node, mirror, NOTES)
    falls_behind(node, mirror, 0x200, 0x210)
    node.join(mirror.peer, TASKS, start=cursor(0x100, tag=""))
    node.acknowledge(mirror.peer)
    read_all(node, mirror)
    assert mirror.ids("notes") == [0x200, 0x210]


def test_who_is_ahead_with_a_shape_that_is_lost_waits_no_longer() -> None:
    node = Node()
    mirror = connect(node)
    node.join(mirror.peer, NOTES, start=cursor(0x400), initial=True)
    node.join(mirror.peer, NOTES, start=cursor(0x400), initial=True, prefix="late ")
    node.settle()
    node.bring(NOTES, 1)
    read_all(node, mirror)
    assert mirror.ids("notes") == mirror.ids("late notes") == [1]
