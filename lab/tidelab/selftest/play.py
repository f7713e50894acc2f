"""One seeded run of clients against the reference server, recorded as a history.

The one rule: the seed decides everything, and what is recorded is what clients received. What was
under way when a connection is cut is lost.
"""

from __future__ import annotations

from random import Random

from tidelab.core.history.event import (
    Claimed,
    ClientEvent,
    Connected,
    Disconnected,
    Received,
    Reset,
    Settled,
    Subscribed,
    Unsubscribed,
)
from tidelab.core.history.history import History, Journal
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import Fenced
from tidelab.selftest.bugs import Bug
from tidelab.selftest.database import Database
from tidelab.selftest.server import Server, Session
from tidelab.selftest.workload import Workload

CLIENTS = 3
STEPS = 240
SETTLE_ROUNDS = 60


class Client:
    """A client that does what it is told, and remembers where it is."""

    def __init__(self, name: str, journal: Journal) -> None:
        self.name = name
        self.session: Session | None = None
        self.wanted: dict[str, Shape] = {}
        self._live: set[str] = set()
        self._cursor: Lsn | None = None
        self._journal = journal

    def connect(self, server: Server) -> None:
        """Connect, or come back: live subscriptions go on, the others begin anew."""
        live = {id: shape for id, shape in self.wanted.items() if id in self._live}
        fresh = {id: shape for id, shape in self.wanted.items() if id not in self._live}
        self.session = server.session(self._cursor if live else None)
        self._journal.record(self.name, Connected())
        if live:
            self.session.subscribe(list(live.items()), resume=True)
        if fresh:
            self.session.subscribe(list(fresh.items()), resume=False)

    def subscribe(self, wanted: dict[str, Shape]) -> None:
        """Ask for more."""
        self.wanted |= wanted
        if self.session is not None:
            self.session.subscribe(list(wanted.items()), resume=False)

    def unsubscribe(self, id: str) -> None:
        """Give up a subscription; what is under way for it is passed over."""
        del self.wanted[id]
        self._live.discard(id)
        self._journal.record(self.name, Unsubscribed(id))
        if self.session is not None:
            self.session.unsubscribe(id)

    def cut(self) -> None:
        """Lose the connection, and all that was under way."""
        self.session = None
        self._journal.record(self.name, Disconnected("cut"))

    def receive(self, count: int) -> None:
        """Take so many messages."""
        assert self.session is not None
        for _ in range(min(count, len(self.session.outbox))):
            self._take(self.session.outbox.popleft())

    def _take(self, event: ClientEvent) -> None:
        match event:
            case Subscribed(id, _, mode):
                if id not in self.wanted:
                    return
                if mode == "copy":
                    self._live.discard(id)
            case Reset(_, id):
                self._live.discard(id or "")
            case Claimed(lsn, live):
                self._live |= set(live) & set(self.wanted)
                self._cursor = lsn
            case Received(lsn, is_staged=False):
                self._cursor = lsn
            case _:
                pass
        self._journal.record(self.name, event)


class Play:
    """A run: the world takes random steps, and then comes to rest."""

    def __init__(self, seed: int, bugs: frozenset[Bug]) -> None:
        self._random = Random(seed)  # noqa: S311 -- repeatable, not secret
        self._workload = Workload(self._random)
        self._journal = Journal()
        self._lsn = Lsn(0x1000000)
        self._database = Database(self._lsn, self._workload.first_state())
        # The bugs throw dice of their own, so that the load stays the same with and without them.
        self._server = Server(self._database, bugs, Random(seed + 1))  # noqa: S311 -- as above
        self._clients = [Client(f"c{number}", self._journal) for number in range(CLIENTS)]
        self._names = 0

    def run(self) -> History:
        """Play from beginning to end."""
        self._journal.record("oracle", self._database.baseline)
        for client in self._clients:
            client.connect(self._server)
            client.subscribe(self._wanted(3))
        for _ in range(STEPS):
            self._step(self._random.choice(self._clients))
        self._settle()
        self._journal.record("oracle", Fenced(self._lsn))
        return self._journal.history

    def _wanted(self, count: int) -> dict[str, Shape]:
        wanted = {}
        for _ in range(count):
            self._names += 1
            wanted[f"s{self._names}"] = self._workload.shape()
        return wanted

    def _step(self, client: Client) -> None:
        chance = self._random.random()
        if chance < 0.35:
            self._write()
        elif client.session is None:
            if chance < 0.55:
                client.connect(self._server)
        elif chance < 0.93:
            client.session.pump(self._random.choice((1, 2, 5)))
            client.receive(self._random.choice((1, 3, 8, 20)))
        elif chance < 0.97:
            client.cut()
        elif chance < 0.985:
            client.subscribe(self._wanted(1))
        elif len(client.wanted) > 1:
            client.unsubscribe(self._random.choice(list(client.wanted)))

    def _write(self) -> None:
        self._lsn = Lsn(self._lsn + self._random.randrange(40, 4000))
        changes = self._workload.transaction(self._database.now)
        self._journal.record("oracle", self._database.commit(self._lsn, changes))

    def _settle(self) -> None:
        """Let everybody come back and take all there is, in a bounded number of rounds."""
        for client in self._clients:
            if client.session is None:
                client.connect(self._server)
            assert client.session is not None
            for _ in range(SETTLE_ROUNDS):
                client.session.pump(5)
                client.receive(len(client.session.outbox))
                if client.session.is_at_rest:
                    break
            client.session.progress()
            client.receive(len(client.session.outbox))
        self._journal.record("run", Settled(self._database.lsn_at(len(self._database.log))))


def play(seed: int, bugs: frozenset[Bug] = frozenset()) -> History:
    """Return the history of one run."""
    return Play(seed, bugs).run()
