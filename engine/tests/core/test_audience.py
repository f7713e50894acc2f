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
    quick, slow, blocked = (member(audiences, A) for _ in range(3))
    slow.outbox = Outbox(window=0)
    blocked.outbox.block(True)
    dirty: list[ServerSession] = []
    assert hand_out([quick, slow, blocked], b"frame", 1, dirty) == [slow, blocked]
    assert dirty == [quick]
    assert [s.outbox.take() for s in (quick, slow, blocked)] == [[b"frame"], [], []]


def test_a_member_that_has_frames_waiting_is_not_noted_twice() -> None:
    audiences = Audiences()
    session = member(audiences, A)
    dirty: list[ServerSession] = []
    hand_out([session], b"one", 1, dirty)
    hand_out([session], b"two", 1, dirty)
    assert dirty == [session]


@given(st.lists(st.integers(1, 3 * limits.WINDOW_MARK_BYTES), max_size=40))
def test_the_hot_loop_keeps_the_same_account_as_the_outbox(sizes: list[int]) -> None:
    session, alone = Peer().session, Outbox()
    for size in sizes:
        if alone.has_room:
            alone.push_counted(bytes(size))
        hand_out([session], bytes(size), 1, [])
    outbox = session.outbox
    assert outbox.frames == alone.frames
    assert (outbox.count, outbox.sent) == (alone.count, alone.sent)
    assert (outbox._marks, outbox.mark_at) == (alone._marks, alone.mark_at)


def test_commits_of_one_run_are_joined_once_for_all_members() -> None:
    audiences = Audiences()
    first, second, slow = (member(audiences, A) for _ in range(3))
    slow.outbox = Outbox(window=0)
    (audience,) = audiences
    for number in (7, 8, 9):
        audience.add(number, Lsn(100 + number), b"%d" % number)
    assert (audience.run_number, audience.run_bytes, audience.told) == (7, 3, 109)
    assert audience.settle([]) == [slow], "it stops before the first commit of the run"
    (frames,) = first.outbox.take()
    assert frames == b"789"
    assert second.outbox.take()[0] is frames
    assert (first.outbox.count, first.outbox.sent, slow.outbox.count) == (3, 3, 0)


def test_a_run_of_one_is_the_shared_frame_itself_and_is_handed_out_once() -> None:
    audiences = Audiences()
    session = member(audiences, A)
    (audience,) = audiences
    frame = bytes(200)
    audience.add(3, Lsn(9), frame)
    audience.settle([])
    assert audience.settle([]) == [], "nothing is left"
    (got,) = session.outbox.take()
    assert got is frame
    audience.add(4, Lsn(10), b"next")
    assert (audience.run_number, audience.run_bytes) == (4, 4)
