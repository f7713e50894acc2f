"""Goal: a commit reaches exactly the sessions that have a touched shape, and nobody twice.

Method: real sessions and shape names; who is told is compared with the plain definition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.bench import Peer, write_to_none
from tidewire import limits
from tidewire.core.audience import Audience, Audiences
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.outbox import Outbox, Tally
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId

A, B, C = ShapeId("a"), ShapeId("b"), ShapeId("c")


def member(audiences: Audiences, *shapes: ShapeId, told: int = 1) -> ServerSession:
    session = Peer().session
    session.shape_ids = frozenset(shapes)
    audiences.enter(session, Lsn(told))
    return session


def test_sessions_with_the_same_shapes_share_one_audience() -> None:
    audiences = Audiences(write_to_none)
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
    audiences = Audiences(write_to_none)
    sessions = [(member(audiences, *shapes), leaves) for shapes, leaves in sets]
    for session, leaves in sessions:
        if leaves:
            audiences.leave(session)
    told = [s for audience in audiences.touched_by(touched) for s in audience.members]
    wanted = [s for s, leaves in sessions if not leaves and s.shape_ids & touched]
    assert len(told) == len(wanted)
    assert set(told) == set(wanted)


def test_the_last_to_leave_leaves_nothing_behind() -> None:
    audiences = Audiences(write_to_none)
    sessions = [member(audiences, A), member(audiences, A, B), member(audiences, B)]
    for session in sessions:
        audiences.leave(session)
        assert not session.is_live
    assert list(audiences) == []
    assert (audiences._by_shapes, audiences._by_shape) == ({}, {})


def test_who_is_not_live_leaves_without_a_trace() -> None:
    audiences = Audiences(write_to_none)
    stays = member(audiences, A)
    stranger = Peer().session
    stranger.shape_ids = frozenset({A})
    audiences.leave(stranger)
    assert [list(audience.members) for audience in audiences] == [[stays]]


def test_audiences_may_come_and_go_while_they_are_walked() -> None:
    audiences = Audiences(write_to_none)
    first, second = member(audiences, A), member(audiences, B)
    for audience in audiences:
        for session in list(audience.members):
            audiences.leave(session)
    assert not first.is_live
    assert not second.is_live


def enter(audiences: Audiences, count: int, window: int = limits.WINDOW_BYTES) -> list[Peer]:
    peers = [Peer() for _ in range(count)]
    for peer in peers:
        peer.session.outbox = Outbox(window)
        peer.session.shape_ids = frozenset({A})
        audiences.enter(peer.session, Lsn(1))
    return peers


def hand_out(audiences: Audiences, frame: bytes) -> list[ServerSession]:
    """Hand one frame out as the hub does; return who has left for it."""
    (audience,) = audiences
    audience.add(1, Lsn(2), frame)
    full = audience.full()
    for session in full:
        audiences.leave(session)
    audience.hand_out()
    return full


def test_members_without_room_leave_and_get_nothing() -> None:
    audiences = Audiences(write_to_none)
    (first,), (slow,), (blocked,) = enter(audiences, 1), enter(audiences, 1, 0), enter(audiences, 1)
    blocked.session.outbox.block(True)
    assert hand_out(audiences, b"frame") == [slow.session, blocked.session]
    assert [peer.take() for peer in (first, slow, blocked)] == [[b"frame"], [], []]
    assert [peer.session.outbox.count for peer in (first, slow, blocked)] == [1, 0, 0]


def test_a_socket_that_is_full_after_a_run_gets_no_further_one() -> None:
    audiences = Audiences(write_to_none)
    first, second = enter(audiences, 2)
    assert hand_out(audiences, b"one") == []
    second.session.outbox.block(True)
    assert hand_out(audiences, b"two") == [second.session]
    assert (first.take(), second.take()) == ([b"one", b"two"], [b"one"])
    assert [peer.session.outbox.count for peer in (first, second)] == [2, 1]


def test_a_run_that_nobody_is_left_for_goes_nowhere() -> None:
    audiences = Audiences(write_to_none)
    (peer,) = enter(audiences, 1, 0)
    assert hand_out(audiences, b"frame") == [peer.session]
    assert list(audiences) == []
    assert peer.take() == []


SIZES = st.integers(1, 3 * limits.WINDOW_MARK_BYTES)
STEP = st.tuples(st.sampled_from(["all", "one", "ack", "block", "enter", "leave"]), SIZES)


@given(st.lists(STEP, max_size=60), st.integers(1, 8))
def test_a_shared_account_never_lets_a_window_overflow(
    steps: list[tuple[str, int]], marks: int
) -> None:
    audiences, window = Audiences(write_to_none), marks * limits.WINDOW_MARK_BYTES
    peer, neighbour = enter(audiences, 2, window)
    session, outbox = peer.session, peer.session.outbox
    sizes, acked, is_blocked = list[int](), 0, False
    for step, number in steps:
        had_room = outbox.has_room
        if step == "all":
            was_live = session.is_live
            hand_out(audiences, bytes(number))
            if was_live:
                assert session.is_live == had_room
            if session.is_live:
                sizes.append(number)
            neighbour.session.outbox.acknowledge(neighbour.session.outbox.count)
        elif step == "one" and had_room:
            outbox.push_counted(bytes(number))
            sizes.append(number)
        elif step == "ack":
            acked += (len(sizes) - acked) * (number % 101) // 100
            outbox.acknowledge(acked)
            exact = sum(sizes[:acked]) + window
            if not is_blocked:
                assert exact - 2 * limits.WINDOW_MARK_BYTES - max(sizes, default=0) < outbox.limit
                assert outbox.limit <= exact
        elif step == "block":
            is_blocked = not is_blocked
            outbox.block(is_blocked)
        elif step == "enter" and not session.is_live:
            audiences.enter(session, Lsn(1))
        elif step == "leave":
            audiences.leave(session)
        assert (outbox.count, outbox.sent) == (len(sizes), sum(sizes))
        assert sum(sizes[acked:-1]) < window, "one message may overshoot it"
    outbox.block(False)
    outbox.acknowledge(len(sizes))
    assert outbox.limit == outbox.sent + window, "who has acknowledged all has the whole window"


MARK, WINDOW = limits.WINDOW_MARK_BYTES, limits.WINDOW_BYTES


def test_what_is_known_to_have_arrived_stays_known() -> None:
    audiences = Audiences(write_to_none)
    (peer,) = enter(audiences, 1)
    outbox = peer.session.outbox
    for size in (MARK, 100):
        hand_out(audiences, bytes(size))
    outbox.acknowledge(2)
    for _ in range(2):
        hand_out(audiences, bytes(10))
    outbox.acknowledge(3)
    assert outbox.limit == MARK + 100 + WINDOW, "the newest mark is older"


def late_comer(audiences: Audiences) -> Outbox:
    """Enter a session that was sent three large messages, after others had small ones."""
    enter(audiences, 1)
    for size in (MARK, 5, 5):
        hand_out(audiences, bytes(size))
    late = Peer().session
    for _ in range(3):
        late.outbox.push_counted(bytes(MARK))
    late.shape_ids = frozenset({A})
    audiences.enter(late, Lsn(1))
    hand_out(audiences, b"x")
    return late.outbox


def test_marks_from_before_a_session_came_are_not_its_own() -> None:
    outbox = late_comer(Audiences(write_to_none))
    outbox.acknowledge(1)
    assert outbox.limit == MARK + WINDOW


def test_a_session_that_leaves_takes_its_own_marks_along_and_no_others() -> None:
    outbox = late_comer(Audiences(write_to_none))
    outbox.share(Tally())
    outbox.acknowledge(3)
    assert outbox.limit == 3 * MARK + WINDOW


def test_a_message_for_one_leaves_the_marks_before_it_where_they_were() -> None:
    audiences = Audiences(write_to_none)
    (peer,) = enter(audiences, 1)
    outbox = peer.session.outbox
    for size in (MARK, 5):
        hand_out(audiences, bytes(size))
    outbox.push_counted(bytes(3 * MARK))
    hand_out(audiences, b"x")
    outbox.acknowledge(2)
    assert outbox.limit == MARK + WINDOW


def test_commits_of_one_run_are_joined_once_for_all_members() -> None:
    audiences = Audiences(write_to_none)
    peers = [*enter(audiences, 2), *enter(audiences, 1, 0)]
    (audience,) = audiences
    for number in (7, 8, 9):
        audience.add(number, Lsn(100 + number), b"%d" % number)
    assert (audience.run_number, audience.run_bytes) == (7, 3)
    assert audience.told == 109
    (slow,) = audience.full()
    assert slow is peers[2].session, "it stops before the first commit of the run"
    audiences.leave(slow)
    audience.hand_out()
    (first,), (second,), nothing = (peer.take() for peer in peers)
    assert (first, nothing) == (b"789", [])
    assert second is first
    assert [peer.session.outbox.count for peer in peers] == [3, 3, 0]
    assert peers[0].session.outbox.sent == 3


def test_a_run_of_one_is_the_shared_frame_itself_and_is_handed_out_once() -> None:
    audiences = Audiences(write_to_none)
    (peer,) = enter(audiences, 1)
    (audience,) = audiences
    frame = bytes(200)
    audience.add(3, Lsn(9), frame)
    audience.hand_out()
    audience.hand_out()
    (got,) = peer.take()
    assert got is frame, "and nothing is left"
    audience.add(4, Lsn(10), b"next")
    assert (audience.run_number, audience.run_bytes) == (4, 4)


class Sockets:
    """What a kernel would do: each socket takes so many bytes at once."""

    def __init__(self, *takes: int) -> None:
        self.takes = takes
        self.got = [b""] * len(takes)

    def write_to_all(self, descriptors: Sequence[int], frames: bytes) -> Mapping[int, int]:
        short = {}
        for place, descriptor in enumerate(descriptors):
            taken = frames[: self.takes[descriptor]]
            self.got[descriptor] += taken
            if taken != frames:
                short[place] = len(taken)
        return short


def say(audience: Audience, frames: bytes) -> None:
    audience.add(1, Lsn(2), frames)
    assert audience.full() == []
    audience.hand_out()


def test_what_a_socket_does_not_take_is_written_behind_it() -> None:
    # Goal: every member gets each byte once, in order, whatever its socket takes at once.
    sockets = Sockets(0, 3, 10)
    audiences = Audiences(sockets.write_to_all)
    peers = [Peer() for _ in range(4)]
    for peer, descriptor in zip(peers, (None, 2, 0, 1), strict=True):
        peer.session.shape_ids = frozenset({A})
        peer.session.descriptor = descriptor
        audiences.enter(peer.session, Lsn(1))
    (audience,) = audiences
    say(audience, b"0123456789")
    assert [b"".join(peer.take()) for peer in peers] == [
        b"0123456789",
        b"",
        b"0123456789",
        b"3456789",
    ]
    assert sockets.got == [b"", b"012", b"0123456789"]


def test_a_thousand_sockets_that_are_full_share_what_waits_for_them() -> None:
    sockets = Sockets(3)
    audiences = Audiences(sockets.write_to_all)
    session = member(audiences, A)
    waiting: list[bytes] = []
    session.write = waiting.append
    session.attach(0)
    (audience,) = audiences
    frame = b"0123456789"
    say(audience, frame)
    (rest,) = waiting
    assert rest == b"3456789"
    assert memoryview(rest).obj is frame, "it is not copied"


def test_how_a_member_is_reached_changes_before_the_next_commit() -> None:
    # Goal: a descriptor that was withdrawn is never written to again: it may be another's soon.
    sockets = Sockets(9, 9)
    audiences = Audiences(sockets.write_to_all)
    stays, changes = member(audiences, A), member(audiences, A)
    (audience,) = audiences
    written: list[bytes] = []
    changes.write = written.append
    stays.attach(0)
    changes.attach(1)
    say(audience, b"1")
    changes.attach(None)
    say(audience, b"2")
    changes.attach(1)
    say(audience, b"3")
    audiences.leave(changes)
    say(audience, b"4")
    audiences.enter(changes, Lsn(1))
    say(audience, b"5")
    assert (sockets.got, written) == ([b"12345", b"135"], [b"2"])
