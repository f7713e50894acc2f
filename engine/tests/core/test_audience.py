"""Goal: a commit reaches exactly the sessions that have a touched shape, and nobody twice.

Method: real sessions and shape names; who is told is compared with the plain definition.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tidewire import limits
from tidewire.core.audience import Audiences, hand_out
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.outbox import Outbox
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId

from engine.tests.core.bench import Peer

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
    assert (audience.shapes, audience.told) == ({A, B}, 5)
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
    quick, slow, blocked = (member(audiences, A) for _ in range(3))
    slow.outbox = Outbox(window=0)
    blocked.outbox.block(True)
    dirty: list[ServerSession] = []
    assert hand_out([quick, slow, blocked], b"frame", dirty) == [slow, blocked]
    assert dirty == [quick]
    assert [s.outbox.take() for s in (quick, slow, blocked)] == [[b"frame"], [], []]


def test_a_member_that_has_frames_waiting_is_not_noted_twice() -> None:
    audiences = Audiences()
    session = member(audiences, A)
    dirty: list[ServerSession] = []
    hand_out([session], b"one", dirty)
    hand_out([session], b"two", dirty)
    assert dirty == [session]


@given(st.lists(st.integers(1, 3 * limits.WINDOW_MARK_BYTES), max_size=40))
def test_the_hot_loop_keeps_the_same_account_as_the_outbox(sizes: list[int]) -> None:
    session, alone = Peer().session, Outbox()
    for size in sizes:
        if alone.has_room:
            alone.push_counted(bytes(size))
        hand_out([session], bytes(size), [])
    outbox = session.outbox
    assert outbox.frames == alone.frames
    assert (outbox.count, outbox.sent) == (alone.count, alone.sent)
    assert (outbox._marks, outbox.mark_at) == (alone._marks, alone.mark_at)
