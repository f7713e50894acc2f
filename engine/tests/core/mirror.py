"""What a client has to make of the messages of a server, in the words of PROTOCOL.md.

Method: the shortest reader that keeps two tables for each subscription, one that is shown and one
on a stage. It shares no code with the client of the engine, and refuses what no client could take.
"""

from __future__ import annotations

from typing import Any

from engine.tests.core.bench import NOTES, Message, Node, Peer, Table, position, transaction

Rows = dict[int, list[Any]]


class Mirror:
    """The rows that a peer may show, by the ids of its subscriptions."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.shown: dict[str, Rows] = {}
        self.staged: dict[str, Rows] = {}
        self.position = 0
        self.at: dict[str, int] = {}
        """Positions at which subscriptions were shown first."""
        self._shapes: dict[str, str] = {}
        self._initial: set[str] = set()
        self._copies: dict[str, tuple[str, int]] = {}
        self._whole: set[str] = set()
        self._parts = [0, 0]

    def read(self) -> list[Message]:
        """Take in what was written since the last time."""
        messages = self.peer.heard()
        for message in messages:
            getattr(self, "_" + message["type"], lambda _: None)(message)
        return messages

    def ids(self, subscription: str) -> list[int]:
        """Return the keys of the rows that are shown."""
        return sorted(self.shown[subscription])

    def _subscribed(self, message: Message) -> None:
        id = message["id"]
        self._shapes[id] = message["shape"]
        if message["mode"] != "live":
            self._initial.add(id)  # the tests want rows where they continue
        if message["mode"] == "initial":
            self.staged[id] = {}
        else:
            self.shown.setdefault(id, {})

    def _snapshot(self, message: Message) -> None:
        ids = [id for id in self.staged if self._shapes[id] == message["shape"]]
        place = (message["copy"], message["chunk"])
        takers = [id for id in ids if not place[1] or self._copies.get(id) == place]
        assert takers, f"chunk {place} is out of order"
        for id in takers:
            if not place[1]:
                self.staged[id] = {}
                self._whole.discard(id)
            assert id not in self._whole, "nothing comes after the last chunk"
            self.staged[id].update((row[0], row) for row in message["rows"])
            self._copies[id] = (message["copy"], message["chunk"] + 1)
            if message.get("last"):
                self._whole.add(id)

    def _commit(self, message: Message) -> None:
        is_staged = message.get("stage", False)
        self._count(message, is_staged=is_staged)
        if not is_staged and message.get("last", True):
            self._move(message)
        tables = self.staged if is_staged else self.shown
        for part in message["parts"]:
            ids = [id for id in tables if self._shapes[id] == part["shape"]]
            takers = [id for id in ids if not is_staged or id in self._whole]
            assert takers, "a commit for nobody"
            for id in takers:
                self._apply(tables[id], part["changes"])

    def _count(self, message: Message, *, is_staged: bool) -> None:
        part = message.get("part")
        assert not part or part == self._parts[is_staged], "a part is missing"
        self._parts[is_staged] = 0 if part is None else part + 1

    def _apply(self, rows: Rows, changes: list[list[Any]]) -> None:
        for op, *what in changes:
            assert op == "i", "the tests insert only"
            assert what[0][0] not in rows, "a row comes once"
            rows[what[0][0]] = what[0]

    def _up_to_date(self, message: Message) -> None:
        self._move(message)
        for id in message.get("live", ()):
            assert id in self._whole, "live before the copy is whole"
            self._whole.remove(id)
            self._copies.pop(id)
            self.shown[id] = self.staged.pop(id)
            self.at[id] = self.position

    def _move(self, message: Message) -> None:
        lsn = position(message["lsn"])
        assert lsn >= self.position, "the position went back"
        self.position = lsn

    def _reset(self, message: Message) -> None:
        if "shape" not in message:
            self.position = 0
        for id in list(self.shown):
            if message.get("shape") in (None, self._shapes[id]):
                if message["reason"] == "schema_changed":
                    del self.shown[id]
                elif id in self._initial:
                    self.staged[id] = {}
                    del self.shown[id]

    def _error(self, message: Message) -> None:
        self.staged.pop(message.get("ref", ""), None)


def connect(node: Node, id: str = "peer") -> Mirror:
    peer = node.open(id)
    peer.take()
    return Mirror(peer)


def read_all(node: Node, *mirrors: Mirror) -> list[Message]:
    """Let clients read until there is nothing more, acknowledging all the time."""
    messages: list[Message] = []
    is_reading = True
    while is_reading:
        is_reading = False
        for mirror in mirrors:
            node.acknowledge(mirror.peer)
            node.settle()
            piece = mirror.read()
            messages += piece
            is_reading |= bool(piece)
    return messages


def wants(node: Node, id: str = "peer") -> Mirror:
    """Connect a client that wants the rows of notes."""
    mirror = connect(node, id)
    node.join(mirror.peer, NOTES, initial=True)
    mirror.read()
    return mirror


def commit(node: Node, *ends: int) -> None:
    """Let commits of notes come, each with the row that is its position."""
    for lsn in ends:
        node.deliver(transaction(lsn, NOTES.insert(lsn)))


def copied(node: Node, mirror: Mirror, *tables: Table, prefix: str = "") -> None:
    """Bring a client to where it is live with tables that have no rows."""
    node.join(mirror.peer, *tables, initial=True, prefix=prefix)
    for table in tables:
        if not node.copy_of(table).is_complete:
            node.bring(table)
    read_all(node, mirror)
    assert {prefix + table.name for table in tables} <= mirror.shown.keys()


def falls_behind(node: Node, mirror: Mirror, *commits: int) -> None:
    """Let commits of notes come while a client takes nothing."""
    node.fill_window(mirror.peer)
    for lsn in commits:
        node.deliver(transaction(lsn, NOTES.insert(lsn)))
    assert not mirror.peer.session.is_live
