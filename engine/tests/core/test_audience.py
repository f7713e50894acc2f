"""Goal: a commit reaches exactly the sessions that have a touched shape, and nobody twice.

Method: real sessions and shape names; who is told is compared with the plain definition.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.bench import Peer
from tidewire import limits
from tidewire.core.audience import Audiences, hand_out
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.outbox import Outbox
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId

A, B, C = ShapeId("a"), ShapeId("b"), ShapeId("c")


def member(audiences: Audiences, *shapes: ShapeId, told: int = 1) -> ServerSession:
    session = Peer().session
    session.shape_ids = frozenset(shapes)
    audiences.enter(session, Lsn(told))
    return session


def test_sessions_with_the_same_shapes_share_one_audience() -> None:
    audiences = Audiences()
    first, second = member(audiences, A, B, told=5), member(audiences, B, A, told=9)
    (audience,) = audiences
    assert list(audience.members) == [first, second]
    assert audience.shapes == {A, B}
    assert audience.told == 5, "what all of them know"
    assert first.is_live
    assert second.is_live


SETS = st.frozensets(st.sampled_from([A, B, C]))


@given(st.lists(st.tuples(SETS, st.booleans()), max_size=12), SETS)
def test_who_is_told_are_the_members_with_a_touched_shape(
    sets: list[tuple[frozenset[ShapeId], bool]], touched: frozenset[ShapeId]
) -> None:
    audiences = Audiences()
    sessions = [(member(audiences, *shapes), leaves) for shapes, leaves in sets]
    for session, leaves in sessions:
        if leaves:
            audiences.leave(session)
    told = [s for audience in audiences.touched_by(touched) for s in audience.members]
    wanted = [s for s, leaves in sessions if not leaves and s.shape_ids & touched]
    assert len(told) == len(wanted)
    assert set(told) == set(wanted)


def test_the_last_to_leave_leaves_nothing_behind() -> None:
    audiences = Audiences()
    sessions = [member(audiences, A), member(audiences, A, B), member(audiences, B)]
    for session in sessions:
        audiences.leave(session)
        assert not session.is_live
    assert list(audiences) == []
    assert (audiences._by_shapes, audiences._by_shape) == ({}, {})


def test_who_is_not_live_leaves_without_a_trace() -> None:
    audiences = Audiences()
    stays = member(audiences, A)
    stranger = Peer().session
    stranger.shape_ids = frozenset({A})
    audiences.leave(stranger)
    assert [list(audience.members) for audience in audiences] == [[stays]]


def test_audiences_may_come_and_go_while_they_are_walked() -> None:
    audiences = Audiences()
    first, second = member(audiences, A), member(audiences, B)
    for audience in audiences:
        for session in list(audience.members):
            audiences.leave(session)
    assert not first.is_live
    assert not second.is_live


def test_members_without_room_are_returned_and_get_nothing() -> None:
    audiences = Audiences()
    peers = [Peer() for _ in range(3)]
    sessions = [peer.session for peer in peers]
    for session in sessions:
        session.shape_ids = frozenset({A})
        audiences.enter(session, Lsn(1))
    _, slow, blocked = sessions
    slow.outbox = Outbox(window=0)
    blocked.outbox.block(True)
    assert hand_out(sessions, b"frame", 1) == [slow, blocked]
    assert [peer.take() for peer in peers] == [[b"frame"], [], []]
    assert [session.outbox.count for session in sessions] == [1, 0, 0]


def test_what_waits_in_the_outbox_goes_first() -> None:
    peer = Peer()
    peer.session.outbox.push(b"subscribed")
    hand_out([peer.session], b"commit", 1)
    hand_out([peer.session], b"next", 1)
    assert peer.take() == [b"subscribed", b"commit", b"next"]


@given(st.lists(st.integers(1, 3 * limits.WINDOW_MARK_BYTES), max_size=40))
def test_the_hot_loop_keeps_the_same_account_as_the_outbox(sizes: list[int]) -> None:
    peer, alone = Peer(), Outbox()
    for size in sizes:
        if alone.has_room:
            alone.push_counted(bytes(size))
        hand_out([peer.session], bytes(size), 1)
    outbox = peer.session.outbox
    assert peer.take() == alone.take()
    assert (outbox.count, outbox.sent) == (alone.count, alone.sent)
    assert (outbox._marks, outbox.mark_at) == (alone._marks, alone.mark_at)


def test_commits_of_one_run_are_joined_once_for_all_members() -> None:
    audiences = Audiences()
    peers = [Peer() for _ in range(3)]
    for peer in peers:
        peer.session.shape_ids = frozenset({A})
        audiences.enter(peer.session, Lsn(1))
    slow = peers[2].session
    slow.outbox = Outbox(window=0)
    (audience,) = audiences
    for number in (7, 8, 9):
        audience.add(number, Lsn(100 + number), b"%d" % number)
    assert (audience.run_number, audience.run_bytes) == (7, 3)
    assert audience.told == 109
    assert audience.settle() == [slow], "it stops before the first commit of the run"
    (first,), (second,), nothing = (peer.take() for peer in peers)
    assert (first, nothing) == (b"789", [])
    assert second is first
    assert [peer.session.outbox.count for peer in peers] == [3, 3, 0]
    assert peers[0].session.outbox.sent == 3


def test_a_run_of_one_is_the_shared_frame_itself_and_is_handed_out_once() -> None:
    audiences = Audiences()
    peer = Peer()
    peer.session.shape_ids = frozenset({A})
    audiences.enter(peer.session, Lsn(1))
    (audience,) = audiences
    frame = bytes(200)
    audience.add(3, Lsn(9), frame)
    audience.settle()
    assert audience.settle() == [], "nothing is left"
    (got,) = peer.take()
    assert got is frame
    audience.add(4, Lsn(10), b"next")
    assert (audience.run_number, audience.run_bytes) == (4, 4)
