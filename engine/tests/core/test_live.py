"""Goal: commits that come together are handed out in one run per audience, and to those alone.

Method: encoded commits by hand, sessions with recorded sockets, and a list of who fell behind. The
rest of what live sessions get is in `test_hub.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.tests.core.bench import NOTES, TASKS, Peer, lsns, transaction, write_to_none
from tidewire import limits
from tidewire.core.encoder import EncodedCommit
from tidewire.core.live import Live
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol.codec import encode_part
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import ShapeId

S1, S2 = ShapeId("s1"), ShapeId("s2")


class Stand:
    """A live hub's half: who is in, and who has fallen behind, with the commit to go on from."""

    def __init__(self) -> None:
        self.fallen: list[tuple[str, int]] = []
        self.live = Live(self._fall, write_to_none)
        index = ShapeIndex()
        self.shapes = {S1: index.acquire(NOTES.spec), S2: index.acquire(TASKS.spec)}
        self.number = 0

    def enter(self, id: str, *shapes: ShapeId, told: int = 0) -> Peer:
        peer = Peer(id)
        peer.session.shapes = {shape: self.shapes[shape] for shape in shapes}
        peer.session.update_shape_ids()
        self.live.enter(peer.session, Lsn(told))
        return peer

    def spread(self, lsn: int, *shapes: ShapeId, body: str = "b") -> None:
        parts = {shape: encode_part(shape, [b'["i",["%b"]]' % body.encode()]) for shape in shapes}
        encoded = EncodedCommit(transaction(lsn), 0, parts, frozenset())
        self.live.spread(self.number, Lsn(lsn), encoded)
        self.number += 1

    def untold(self, progress: int) -> list[str]:
        return names(list(self.live.untold(Lsn(progress))))

    def _fall(self, session: ServerSession, number: int) -> None:
        self.live.leave(session)
        self.fallen.append((session.id, number))


def names(sessions: Sequence[ServerSession]) -> list[str]:
    return [session.id for session in sessions]


def test_commits_are_handed_out_when_all_of_a_delivery_are_in() -> None:
    stand = Stand()
    both, second = stand.enter("both", S1, S2), stand.enter("second", S2)
    stand.spread(0x10, S1)
    stand.spread(0x20, S1, S2)
    assert (both.heard(), second.heard()) == ([], [])
    stand.live.settle()
    assert len(both.written) == 1
    assert (lsns(both.heard()), lsns(second.heard())) == ([0x10, 0x20], [0x20])
    assert not stand.live._running
    stand.live.settle()
    assert (both.heard(), second.heard()) == ([], [])


def test_a_long_run_is_handed_out_before_the_delivery_is_over() -> None:
    stand = Stand()
    first, second = stand.enter("first", S1), stand.enter("second", S2)
    stand.spread(0x10, S2)
    stand.spread(0x20, S1, body="x" * limits.WINDOW_MARK_BYTES)
    assert (lsns(first.heard()), second.heard()) == ([0x20], [])
    stand.spread(0x30, S1)
    stand.live.settle()
    assert (lsns(first.heard()), lsns(second.heard())) == ([0x30], [0x10])


def test_who_has_no_room_falls_behind_at_the_first_commit_of_the_run() -> None:
    stand = Stand()
    full, free = stand.enter("full", S1), stand.enter("free", S1)
    stand.spread(0x10, S1)
    stand.live.settle()
    full.take()
    full.session.outbox.push_counted(bytes(limits.WINDOW_BYTES))
    stand.spread(0x20, S2)
    stand.spread(0x30, S1)
    stand.spread(0x40, S1)
    stand.live.settle()
    assert stand.fallen == [("full", 2)]
    assert (full.heard(), lsns(free.heard())) == ([], [0x10, 0x30, 0x40])
    assert (full.session.is_live, free.session.is_live) == (False, True)


def test_who_leaves_hears_nothing_more_and_may_leave_again() -> None:
    stand = Stand()
    peer, other = stand.enter("peer", S1), stand.enter("other", S1)
    stand.live.leave(peer.session)
    stand.live.leave(peer.session)
    stand.spread(0x10, S1)
    stand.live.settle()
    assert (peer.heard(), lsns(other.heard())) == ([], [0x10])


def test_the_sessions_that_have_any_of_some_shapes_are_found_once() -> None:
    stand = Stand()
    stand.enter("both", S1, S2)
    stand.enter("first", S1)
    stand.enter("other first", S1)
    stand.enter("second", S2)
    assert names(stand.live.touched_by([S1])) == ["both", "first", "other first"]
    assert names(stand.live.touched_by([S1, S2])) == ["both", "first", "other first", "second"]
    assert stand.live.touched_by([ShapeId("s3")]) == []


def test_all_leave_the_tail_for_a_large_commit_behind_what_came_before_it() -> None:
    stand = Stand()
    peers = [stand.enter("a", S1), stand.enter("b", S1), stand.enter("c", S2)]
    stand.spread(0x10, S1)
    stand.live.step_back(1)
    assert stand.fallen == [("a", 1), ("b", 1), ("c", 1)]
    assert [lsns(peer.heard()) for peer in peers] == [[0x10], [0x10], []]
    assert not any(peer.session.is_live for peer in peers)
    stand.live.settle()


def test_a_position_is_told_once_and_not_to_those_who_know_better() -> None:
    stand = Stand()
    stand.enter("first", S1, told=0x10)
    stand.enter("other first", S1, told=0x10)
    stand.enter("second", S2, told=0x20)
    assert stand.untold(0x10) == []
    assert stand.untold(0x20) == ["first", "other first"]
    assert stand.untold(0x20) == []
    stand.spread(0x30, S2)
    assert stand.untold(0x30) == ["first", "other first"]
    assert stand.untold(0x31) == ["first", "other first", "second"]


def test_who_leaves_while_a_position_is_told_does_not_disturb_that() -> None:
    stand = Stand()
    stand.enter("a", S1)
    stand.enter("b", S1)
    told = []
    for session in stand.live.untold(Lsn(0x10)):
        stand.live.leave(session)
        told.append(session.id)
    assert told == ["a", "b"]
