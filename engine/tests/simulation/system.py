"""The parts of the simulated system, and the steps that they can take one at a time.

Method: a step lets one part do something: a statement, a flush, a message on its way, a turn of the
hub, a piece of a copy, a disaster. Which step comes when is the world's choice (`world.py`).
"""

from __future__ import annotations

import random

import msgspec

from engine.tests.core.bench import payloads_of
from engine.tests.simulation.client import Asked, Client, Link
from engine.tests.simulation.postgres import FIRST_LSN, WRAP, Postgres
from engine.tests.simulation.server import Server
from engine.tests.simulation.tables import TABLES, VIEWS
from engine.tests.simulation.work import Application
from tidewire import limits
from tidewire.core.model.lsn import Lsn, parse_lsn
from tidewire.core.protocol import frames
from tidewire.core.session.client import State
from tidewire.core.session.server import ServerSession
from tidewire.core.shape.shape import ShapeId

LARGE_LOG, SHORT_LOG = limits.LOG_BYTES, 3_000
_ACK = b'{"type":"ack"'
# Some seeds are about one trouble only, and have much of it: steps that are more frequent then.
STANDBY = {"kill": 1.0, "connect": 3.0, "settle_and_report": 3.0, "read_copies": 2.0}
CATALOG = {"ask_again": 3.0, "cut": 3.0, "connect": 3.0, "wait": 4.0, "unsubscribe": 3.0}


class System:
    """Database, node, links and clients; all chance comes from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        # In every third run the numbers of transactions overflow their 32 bits.
        first_xid = WRAP - self.random.randint(1, 12) if seed % 3 == 0 else 700
        self.postgres = Postgres(first_xid)
        self.mood = {2: STANDBY, 3: CATALOG}.get(seed % 8, {})
        is_stalling = self.mood is STANDBY
        self.application = Application(self.postgres, self.random, 0.5 if is_stalling else 0.2)
        self.log_bytes = SHORT_LOG if seed % 2 == 0 else LARGE_LOG
        self.may_reset = seed % 2 == 0
        """Something has happened after which a client may have to start over."""
        self.now = 0.0
        self.lives = 0
        self.slot = FIRST_LSN
        self.server = self.start()
        self.clients = [Client(f"c{i}", self.postgres) for i in range(3)]
        self.ghosts: list[Link] = []
        """Connections that are gone, of which the server does not know yet."""
        self.made = 0
        self.trouble = 0.3 if self.mood is CATALOG else self.random.choice([0, 0, 0.1])
        """How often the catalog cannot find a table now."""

    # --- the database ---

    def transact(self) -> None:
        for _ in range(self.random.choice([1, 2, 3])):
            self.application.write()
            if self.random.random() < 0.7:
                self.application.end()

    def flush(self) -> None:
        postgres = self.postgres
        if postgres.unflushed:
            postgres.flush(self.random.choice(postgres.unflushed).lsn)
        elif self.random.random() < 0.5:
            postgres.inserted += self.random.choice([0, 8, 100])
            postgres.flush(postgres.inserted)

    def see(self) -> None:
        if ready := self.postgres.may_be_seen():
            work = self.random.choice(ready)
            if not work.is_stalled or self.random.random() < 0.05:
                self.postgres.see(work)

    def pass_time(self) -> None:
        self.now += self.random.choice([0.1, 0.4])

    def crash(self) -> None:
        """Crash and recover; the engine has seen the end of its stream, or soon will."""
        self.postgres.crash(self.random.choice([0, 0, 5]))
        self.server.lose_stream()
        self.break_copies()
        self.ask_database_again()

    def ask_database_again(self) -> None:
        """Forget positions that may never come."""
        for client in self.clients:
            for asked in client.link.asked if client.link else ():
                asked.position = None

    def break_copies(self) -> None:
        """Let the copies fail whose connection is gone."""
        for job in list(self.server.jobs):
            if job.rows is not None and not job.copy.is_dead and self.random.random() < 0.7:
                self.server.give_up(job)

    # --- the node ---

    def start(self) -> Server:
        self.lives += 1
        return Server(f"node{self.lives}", self.postgres.truth, self.slot, self.log_bytes)

    def receive(self) -> None:
        if not self.server.is_streaming:
            self.server.connect()
        self.server.receive(self.random.choice([1, 1, 2, 5]), self.now)

    def alter(self) -> None:
        """Let the catalog tell that a table is another one: some of its shapes end, or none."""
        hub = self.server.hub
        table = self.random.choice(TABLES)
        shapes = [shape.id for shape in hub.index.touched_by(table.relation.oid)]
        hub.alter(table.relation.oid, shapes[: self.random.randint(0, len(shapes))])
        self.may_reset = True

    def advance(self) -> None:
        if self.server.is_streaming and not self.server.backlog:
            self.server.advance(self.postgres.flushed)

    def turn(self) -> None:
        self.server.turn()

    def tick(self) -> None:
        self.server.hub.tick(self.now)

    def settle_and_report(self) -> None:
        """Ask the database what it shows, and move the slot."""
        history = self.server.hub.history
        history.settle(self.postgres.snapshot())
        if self.server.is_streaming:
            self.slot = max(self.slot, history.settled)

    def read_copies(self) -> None:
        for job in list(self.server.jobs):
            if self.random.random() < 0.6:
                self.server.read(job, self.postgres, self.random)

    def fail_copy(self) -> None:
        if self.server.jobs:
            self.server.give_up(self.random.choice(self.server.jobs))

    def lose_stream(self) -> None:
        self.server.lose_stream()

    def kill(self) -> None:
        """Let the engine die and start again, with an empty log that it reads from the slot."""
        for client in self.clients:
            if client.link:
                client.disconnect()
        self.ghosts.clear()
        self.server = self.start()

    def replace_slot(self) -> None:
        """Begin a new slot, which waits until all that was committed before is seen."""
        self.postgres.flush(self.postgres.inserted)
        for work in list(self.postgres.unseen):
            self.postgres.see(work)
        self.postgres.new_epoch()
        self.begin_epoch()

    def restore_backup(self) -> None:
        log = self.postgres.truth.log
        past = [commit.lsn for commit in log[-6:] if commit.lsn >= self.slot]
        if past:
            self.postgres.new_epoch(rewound_to=self.random.choice(past))
            self.begin_epoch()
            self.break_copies()
            self.ask_database_again()

    def begin_epoch(self) -> None:
        self.slot = self.postgres.flushed
        self.may_reset = True
        self.server.lose_stream()
        self.server.restart(self.postgres.truth, self.slot)

    # --- connections ---

    def some(self, *, connected: bool) -> Client | None:
        fitting = [client for client in self.clients if (client.link is not None) == connected]
        return self.random.choice(fitting) if fitting else None

    def connect(self) -> None:
        if client := self.some(connected=False):
            self.connect_one(client)

    def connect_one(self, client: Client) -> None:
        client.connect(self.server.open(client.name, self.now))

    def cut(self) -> None:
        if client := self.some(connected=True):
            assert client.link is not None
            self.ghosts.append(client.link)
            client.disconnect()
            if self.random.random() < 0.6:
                self.bury()

    def bury(self) -> None:
        """Let the server find out that a connection is gone."""
        if self.ghosts:
            self.server.hub.leave(self.ghosts.pop(0).peer.session)

    def block(self) -> None:
        if (client := self.some(connected=True)) and (link := client.link):
            link.is_blocked = not link.is_blocked
            self.server.hub.stall(link.peer.session, link.is_blocked, self.now)

    def subscribe(self) -> None:
        self.subscribe_one(self.random.choice(self.clients))

    def subscribe_one(self, client: Client) -> None:
        if len(client.follows) < 5:
            asked = {}
            for _ in range(self.random.choice([1, 1, 2, 3])):
                self.made += 1
                initial = self.random.random() < 0.85
                asked[f"f{self.made}"] = (self.random.randrange(len(VIEWS)), initial)
            client.subscribe(asked)

    def unsubscribe(self) -> None:
        client = self.random.choice(self.clients)
        if client.follows:
            client.unsubscribe(self.random.choice(list(client.follows)))

    def leave(self) -> None:
        """Let a client go for good, and another one come."""
        at = self.random.randrange(len(self.clients))
        if link := self.clients[at].link:
            self.ghosts.append(link)
            self.clients[at].disconnect()
        self.made += 1
        self.clients[at] = Client(f"c{at}.{self.made}", self.postgres)

    def write_down(self) -> None:
        self.random.choice(self.clients).write_down()

    def die(self) -> None:
        """Let a program be killed, and start again with what it has written down."""
        at = self.random.randrange(len(self.clients))
        if link := self.clients[at].link:
            self.ghosts.append(link)
        self.clients[at] = self.clients[at].rise()

    def wait(self) -> None:
        client = self.random.choice(self.clients)
        if client.follows:
            client.session.wait(Lsn(self.postgres.flushed))
            client.send()

    def ask_again(self) -> None:
        for client in self.clients:
            if client.refused and client.session.state is State.OPEN:
                client.ask_again()

    # --- messages ---

    def collect(self) -> None:
        """Put on the wire what the server has written."""
        progress = self.server.progress
        for client in self.clients:
            if (link := client.link) is None:
                continue
            peer = link.peer
            if peer.closed_as == "stalled":  # it was blocked, and too much was asked meanwhile
                self.server.hub.leave(peer.session)
                client.disconnect()
                continue
            assert peer.closed_as is None, peer.session.closing
            assert not peer.aborts, peer.aborts
            if peer.written:
                for chunk in peer.take():
                    for payload in payloads_of(chunk):
                        link.write(payload, progress)
                most = limits.WINDOW_BYTES + limits.WINDOW_MARK_BYTES + max(link.sizes, default=0)
                assert link.unacknowledged <= most, "the window is a bound (G6)"

    def talk(self) -> None:
        """Let some of what is under way arrive, at each client and from each."""
        for client in self.clients:
            if link := client.link:
                for _ in range(self.random.choice([0, 1, 2, 5])):
                    self.send_one(link)
                if self.random.random() < 0.7:
                    self.answer_one(link)
                self.collect()
                for _ in range(self.random.choice([0, 1, 3, 12])):
                    if not self.deliver_one(client):
                        break

    def send_one(self, link: Link) -> bool:
        """Let the server take one message of a client."""
        if not link.outbound:
            return False
        payload = link.outbound.popleft()
        if payload.startswith(_ACK):
            link.acknowledge(msgspec.json.decode(payload, type=frames.Ack).n)
        if asked := self.server.hub.receive(link.peer.session, payload, self.now):
            link.asked.append(Asked(list(asked)))
        return True

    def answer_one(self, link: Link) -> bool:
        """Let the catalog resolve the shapes of one message."""
        if not link.asked:
            return False
        asked = link.asked[0]
        if asked.position is None:
            asked.position = self.postgres.inserted
            if self.random.random() < 0.03:
                # Whoever asks first publishes the table: the others find it published.
                asked.new_table = self.random.randrange(len(TABLES))
                asked.fresh = [each.id for each in asked.requests if _is_new(each, asked)][:1]
            self.may_reset |= bool(asked.fresh)
        is_behind = self.server.progress < asked.position
        if is_behind and any(_begins_now(each, asked) for each in asked.requests):
            return False
        link.asked.popleft()
        self.join(link, asked)
        return True

    def join(self, link: Link, asked: Asked) -> None:
        session = link.peer.session
        for request in asked.requests:
            if self.random.random() < self.trouble:
                self.refuse_one(link, request)
        requests = [each for each in asked.requests if session.pending.get(each.id) is each]
        wanted = [(request, VIEWS[int(request.table)].spec) for request in requests]
        starts = {spec: request.start for request, spec in wanted if request.start}
        held = {shape.spec: shape.id for shape in session.shapes.values()}
        for request, spec in wanted:
            begin = self.begin_of(session, held.get(spec))
            if (start := starts.get(spec)) and not session.shapes:
                begin = parse_lsn(start.lsn)  # its like goes on from there
            link.begins[request.id] = begin
        self.server.hub.join(session, wanted, fresh=asked.fresh)

    def begin_of(self, session: ServerSession, held: ShapeId | None) -> int:
        """Tell where a subscription without rows begins: now, or where its like is already."""
        if held is None or session.is_live:
            return self.server.progress
        history = self.server.hub.history
        return history.before(max(session.number, session.since.get(held, 0)))[0]

    def refuse(self) -> None:
        """Let the catalog be away."""
        if (client := self.some(connected=True)) and (link := client.link) and link.asked:
            for request in link.asked.popleft().requests:
                self.refuse_one(link, request)

    def refuse_one(self, link: Link, request: frames.ShapeRequest) -> None:
        self.may_reset |= request.start is not None
        self.server.hub.refuse(link.peer.session, request, "unavailable", "try again")

    def deliver_one(self, client: Client) -> bool:
        link = client.link
        if link is None or link.is_blocked or not link.inbound:
            return False
        client.take()
        return True


def _is_new(request: frames.ShapeRequest, asked: Asked) -> bool:
    return VIEWS[int(request.table)].table == asked.new_table


def _begins_now(request: frames.ShapeRequest, asked: Asked) -> bool:
    return not request.initial and (request.start is None or _is_new(request, asked))
