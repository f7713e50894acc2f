"""Goal: whatever happens to connections, a client gets exactly the commits of its tables.

Method: a seeded storm over the real hub, with real client sessions at the other end of in-memory
pipes: commits small and large, late acknowledgements, full sockets, slow catalogs, disconnects with
resume, unsubscribes. The model knows nothing but the list of all commits; it judges every event
when it comes, and that all is there when the storm has passed. A failure prints its replay line.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from engine.tests.core.bench import (
    FLOOR,
    LONG,
    NOTES,
    TASKS,
    Node,
    Peer,
    Table,
    make_table,
    payloads_of,
    transaction,
)
from engine.tests.core.session.remote import Follow, Remote
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.model.transaction import RowMessage, Transaction
from tidewire.core.session.client import (
    ClientSession,
    Committed,
    Event,
    Progressed,
    Refused,
    State,
    WasReset,
)

SEEDS = 300 * int(os.environ.get("TIDEWIRE_EFFORT", "1"))
STEPS = 60
TABLES = {table.name: table for table in (NOTES, TASKS, make_table("users", 3))}
STEP_S = 0.05


class Storm:
    """One run; all chance comes from its seed."""

    def __init__(self, seed: int, *, has_failover: bool = False) -> None:
        self.seed, self.has_failover = seed, has_failover
        self.random = random.Random(seed)
        # A short log in some runs, so that slow clients fall off it; a new history in others.
        self.log_bytes = 1_200_000 if seed % 4 == 0 else limits.LOG_BYTES
        self.has_restarts = seed % 4 == 1
        self.node = Node(log_bytes=self.log_bytes)
        self.commits: dict[int, dict[str, list[int]]] = {}
        self.log: list[Transaction] = []
        self.backlog: list[Transaction] = []
        self.lsn, self.rows, self.made = int(FLOOR), 0, 0
        self.remotes = [Remote(f"c{i}", ClientSession(f"c{i}")) for i in range(4)]
        self.done: list[str] = []

    def run(self, steps: int) -> None:
        self.warm_up()
        actions = self.actions()
        chosen = self.random.choices([a for a, _ in actions], [w for _, w in actions], k=steps)
        try:
            for action in chosen:
                self.done.append(action.__name__)
                self.node.now += STEP_S
                action()
                self.collect()
            self.calm_down()
        except Exception as error:
            error.add_note(
                f"seed {self.seed} after {len(self.done)} steps ({' '.join(self.done[-8:])}); "
                "replay: PYTHONPATH=.:engine python -c 'from engine.tests.core.test_hub_model "
                f"import Storm; Storm({self.seed}, has_failover={self.has_failover}).run({steps})'"
            )
            raise

    def warm_up(self) -> None:
        for remote in self.remotes:
            self.connect_one(remote)
            for _ in range(self.random.randint(0, 2)):
                self.subscribe_one(remote)
        self.exhaust()

    def actions(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self.commit_small, 20),
            (self.commit_large, 5),
            (self.advance, 3),
            (self.turn, 14),
            (self.tick, 3),
            (self.hand_inbound, 12),
            (self.hand_outbound, 12),
            (self.answer, 8),
            (self.toggle_blocked, 6),
            (self.connect, 8),
            (self.disconnect, 3),
            (self.subscribe, 4),
            (self.unsubscribe, 3),
            (self.restart, 1 if self.has_restarts else 0),
            (self.fail_over, 5 if self.has_failover else 0),
        ]

    # --- the database and the node ---

    def commit_small(self) -> None:
        for _ in range(self.random.choice([1, 1, 1, 3])):
            body = LONG if self.random.random() < 0.3 else "b"
            self.commit(
                self.random.choices(list(TABLES.values()), k=self.random.randint(1, 3)), body
            )
        self.flow()

    def commit_large(self) -> None:
        tables = self.random.sample(list(TABLES.values()), self.random.choice([1, 1, 2]))
        self.commit(tables * self.random.choice([10, 18]), LONG)
        self.flow()

    def commit(self, tables: list[Table], body: str) -> None:
        self.lsn += self.random.randint(1, 40)
        rows: list[RowMessage] = []
        ids: dict[str, list[int]] = {}
        for table in tables:
            self.rows += 1
            rows.append(table.insert(self.rows, body))
            ids.setdefault(table.name, []).append(self.rows)
        self.commits[self.lsn] = ids
        self.backlog.append(transaction(self.lsn, *rows))

    def flow(self) -> None:
        """Deliver what the node has not seen; a node that took over is given it piece by piece."""
        count = 1 if len(self.backlog) > 4 else len(self.backlog)
        batch, self.backlog = self.backlog[:count], self.backlog[count:]
        self.log += batch
        self.node.deliver(*batch)

    def advance(self) -> None:
        if not self.backlog:
            self.lsn += self.random.randint(1, 40)
            self.node.hub.advance(Lsn(self.lsn))

    def turn(self) -> None:
        if self.node.turns_wanted:
            self.node.turns_wanted = 0
            self.node.hub.turn()

    def tick(self) -> None:
        self.node.hub.tick(self.node.now)

    def restart(self) -> None:
        self.backlog, self.log = [], []
        self.node.hub.restart(f"epoch-{self.lsn}", Lsn(self.lsn))

    def fail_over(self) -> None:
        """Let another node take over, which has to read the log from its floor again."""
        for remote in self.remotes:
            self.drop(remote)
        before = self.node.hub
        self.node = Node(log_bytes=self.log_bytes)
        self.node.now = STEP_S * len(self.done)
        self.node.hub.restart(before.epoch, before.history.floor)
        kept = [t for t in self.log if t.lsn > before.history.floor]
        self.backlog, self.log = kept + self.backlog, []
        # Some clients are quicker than the new node: their cursors are ahead of it.
        for remote in self.random.sample(self.remotes, 2):
            self.connect_one(remote)
        self.exhaust()

    # --- connections ---

    def some(self, *, connected: bool) -> Remote | None:
        fitting = [remote for remote in self.remotes if (remote.peer is not None) == connected]
        return self.random.choice(fitting) if fitting else None

    def connect(self) -> None:
        if remote := self.some(connected=False):
            self.connect_one(remote)

    def connect_one(self, remote: Remote) -> None:
        remote.peer = Peer(remote.name, self.node.now)
        self.node.hub.open(remote.peer.session)
        remote.session.connect()
        remote.outbound = remote.session.take()

    def disconnect(self) -> None:
        if remote := self.some(connected=True):
            self.drop(remote)

    def drop(self, remote: Remote) -> None:
        if remote.peer is not None:
            self.node.hub.leave(remote.peer.session)
            remote.session.disconnect()
        remote.peer, remote.is_blocked = None, False
        remote.inbound, remote.outbound, remote.asked = [], [], []

    def toggle_blocked(self) -> None:
        if remote := self.some(connected=True):
            assert remote.peer is not None
            remote.is_blocked = not remote.is_blocked
            self.node.hub.stall(remote.peer.session, remote.is_blocked, self.node.now)

    def subscribe(self) -> None:
        self.subscribe_one(self.random.choice(self.remotes))

    def subscribe_one(self, remote: Remote) -> None:
        if len(remote.follows) < 4:
            table = self.random.choice(list(TABLES.values()))
            self.made += 1
            remote.follows[f"f{self.made}"] = Follow(table)
            remote.session.subscribe(f"f{self.made}", table.name, initial=False)
            self.send(remote)

    def unsubscribe(self) -> None:
        remote = self.random.choice(self.remotes)
        if remote.follows:
            id = self.random.choice(list(remote.follows))
            del remote.follows[id]
            remote.session.unsubscribe(id)
            self.send(remote)

    def send(self, remote: Remote) -> None:
        if remote.session.state is State.OPEN:
            remote.outbound += remote.session.take()

    # --- what goes through the pipes ---

    def collect(self) -> None:
        for remote in self.remotes:
            if remote.peer is not None:
                assert remote.peer.closed_as is None, remote.peer.session.closing
                assert not remote.peer.aborts
                progress = self.node.hub.history.progress
                for chunk in remote.peer.take():
                    remote.inbound += [(payload, progress) for payload in payloads_of(chunk)]

    def hand_outbound(self) -> None:
        for remote in self.remotes:
            for _ in range(self.random.choice([0, 0, 1, 2, 8])):
                self.hand_outbound_one(remote)

    def hand_outbound_one(self, remote: Remote) -> bool:
        if remote.peer is None or not remote.outbound:
            return False
        asked = self.node.hub.receive(remote.peer.session, remote.outbound.pop(0), self.node.now)
        if asked:
            remote.asked.append(list(asked))
        return True

    def answer(self) -> None:
        for remote in self.remotes:
            self.answer_one(remote)

    def answer_one(self, remote: Remote) -> bool:
        if remote.peer is None or not remote.asked:
            return False
        asked, progress = remote.asked.pop(0), self.node.hub.history.progress
        for request in asked:
            if follow := remote.follows.get(request.id):
                if request.start is None:
                    # A session that waits for a node that is behind goes on where it left off.
                    follow.begin(remote.position, max(progress, remote.position))
                elif not follow.is_joined:
                    # It was added while there was no connection: it begins where the others are.
                    start = int(request.start.lsn.partition("/")[2], 16)
                    follow.begin(start, start)
        self.node.hub.join(
            remote.peer.session, [(request, TABLES[request.table].spec) for request in asked]
        )
        return True

    def hand_inbound(self) -> None:
        for remote in self.remotes:
            for _ in range(self.random.choice([0, 0, 1, 2, 8])):
                self.hand_inbound_one(remote)

    def hand_inbound_one(self, remote: Remote) -> bool:
        if remote.is_blocked or not remote.inbound:
            return False
        payload, progress = remote.inbound.pop(0)
        before = remote.position
        for event in remote.session.receive(payload):
            self.judge(remote, event, before, progress)
        remote.outbound += remote.session.take()
        return True

    # --- what a client may and must be told ---

    def judge(self, remote: Remote, event: Event, before: int, progress: int) -> None:
        match event:
            case Committed():
                self.judge_commit(remote, event)
            case Progressed(lsn=lsn):
                for id in remote.follows:
                    self.check_complete(remote, id, lsn)
            case WasReset(ids=ids):
                remote.resets += 1
                # The client tells it of subscriptions that joined behind the reset, too.
                for follow in (remote.follows[id] for id in ids):
                    if follow.is_joined:
                        follow.begin(before, max(progress, follow.high))
            case Refused():
                raise AssertionError(event)
            case _:
                pass

    def judge_commit(self, remote: Remote, event: Committed) -> None:
        expected = self.commits[event.lsn]
        assert event.xid == event.lsn, "it is told with its own facts"
        for id, changes in event.changes.items():
            follow = remote.follows[id]
            assert [change.key for change in changes] == [
                (row,) for row in expected[follow.table.name]
            ], f"{remote.name}.{id} did not get {event.lsn} whole"
            assert event.lsn > max([follow.low, *follow.got]), "in order, and once"
            follow.got.append(event.lsn)
        for id in remote.follows:
            self.check_complete(remote, id, event.lsn)

    def check_complete(self, remote: Remote, id: str, until: int) -> None:
        follow = remote.follows[id]
        if not follow.is_joined:
            return
        after = min([follow.high, *(lsn - 1 for lsn in follow.got)])
        wanted = [
            lsn
            for lsn, tables in self.commits.items()
            if after < lsn <= until and follow.table.name in tables
        ]
        assert follow.got == wanted, f"{remote.name}.{id} of {follow.table.name}, until {until}"

    # --- the end ---

    def calm_down(self) -> None:
        while self.backlog:
            self.flow()
        for remote in self.remotes:
            if remote.peer is None:
                self.connect_one(remote)
            elif remote.is_blocked:
                remote.is_blocked = False
                self.node.hub.stall(remote.peer.session, False, self.node.now)
        self.exhaust()
        self.tick()
        self.exhaust()
        for remote in self.remotes:
            self.judge_end(remote)
        for remote in self.remotes:
            self.drop(remote)
        assert len(self.node.hub.index) == 0, "nothing is left behind"

    def exhaust(self) -> None:
        is_moving = True
        while is_moving:
            is_moving = bool(self.node.turns_wanted)
            self.turn()
            self.collect()
            for remote in self.remotes:
                self.node.now += 0.01
                is_moving |= self.hand_outbound_one(remote)
                is_moving |= self.answer_one(remote)
                self.collect()
                is_moving |= self.hand_inbound_one(remote)

    def judge_end(self, remote: Remote) -> None:
        progress = self.node.hub.history.progress
        for id in remote.follows:
            assert remote.follows[id].is_joined
            self.check_complete(remote, id, progress)
        if remote.follows:
            assert remote.position == progress, f"{remote.name} was left behind"
        may_be_reset = self.has_restarts or self.log_bytes < limits.LOG_BYTES
        assert may_be_reset or not remote.resets, f"{remote.name} was reset for nothing"


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, SEEDS, 25))
def test_clients_get_exactly_the_commits_of_their_tables(first: int) -> None:
    for seed in range(first, first + 25):
        Storm(seed).run(STEPS)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, SEEDS // 3, 25))
def test_clients_lose_nothing_when_another_node_takes_over(first: int) -> None:
    for seed in range(first, first + 25):
        Storm(seed, has_failover=True).run(STEPS)
