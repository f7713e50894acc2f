"""What a session sees of its node is what the node has.

Method: the real parts of a commit stand in for what the session asks for.
"""

from __future__ import annotations

from engine.tests.core.bench import NOTES, large_transaction
from engine.tests.core.spool import MemorySpool
from tidewire.core.encoder import Encoder
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.node import Node, Parts
from tidewire.core.shape.index import ShapeIndex


def test_a_client_is_welcomed_with_the_history_of_the_node_and_how_far_it_is() -> None:
    node = Node("epoch-1", Lsn(9))
    assert (node.epoch, node.progress) == ("epoch-1", 9)


def test_the_parts_of_a_commit_are_what_a_session_reads() -> None:
    index = ShapeIndex()
    shapes = frozenset({index.acquire(NOTES.spec).id})
    encoder = Encoder(index, MemorySpool())
    parts: Parts = encoder.parts(0, large_transaction(0x200, NOTES), shapes)
    assert (len(parts), parts.is_complete, parts.unfit) == (0, False, set())
    while not parts.is_complete:
        parts.step()
    assert len({parts.frame(i) for i in range(len(parts))}) == len(parts) > 1
