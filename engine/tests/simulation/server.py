"""A node of the simulation: the real hub, with a stream and a reader of copies for a shell.

Method: nothing happens by itself. The world lets the stream bring commits, copies go on, and turns
come, one at a time and in any order.
"""

from __future__ import annotations

from random import Random

from engine.tests.core.bench import Peer, write_to_none
from engine.tests.core.spool import MemorySpool
from engine.tests.simulation.postgres import Postgres, Truth
from engine.tests.simulation.tables import VIEWS
from tidewire import limits
from tidewire.core.hub import Hub
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.outbox import Outbox
from tidewire.core.shape.shape import ShapeSpec
from tidewire.core.stream.copy import Copy
from tidewire.core.stream.rejoin import BrokenHistory, Rejoin

_VIEW_OF = {view.spec: number for number, view in enumerate(VIEWS)}


class Job:
    """A copy on its way from the database to the hub."""

    def __init__(self, copy: Copy, view: int) -> None:
        self.copy = copy
        self.view = view
        self.rows: list[bytes] | None = None
        """What is left to read, once there is a snapshot."""


class Server:
    """One life of the engine."""

    def __init__(self, name: str, truth: Truth, floor: int, log_bytes: int) -> None:
        self.hub = Hub(
            MemorySpool(),
            schedule=self._schedule,
            copy=self._want,
            nudge=lambda position: None,
            write_to_all=write_to_none,
            name=name,
            log_bytes=log_bytes,
        )
        self.is_turn_wanted = False
        self.jobs: list[Job] = []
        self.is_streaming = False
        self._rejoin = Rejoin(self.hub.history)
        self._next = 0
        """Place in the truth's log of the next commit that the stream brings."""
        self.restart(truth, floor)

    @property
    def progress(self) -> int:
        return self.hub.history.progress

    def open(self, id: str, now: float) -> Peer:
        """Accept a connection."""
        peer = Peer(id, now)
        # Made anew, because bounds are read when a module is loaded.
        peer.session.outbox = Outbox(limits.WINDOW_BYTES)
        self.hub.open(peer.session)
        return peer

    def _schedule(self) -> None:
        self.is_turn_wanted = True

    def turn(self) -> bool:
        if not self.is_turn_wanted:
            return False
        self.is_turn_wanted = False
        self.hub.turn()
        return True

    # --- the stream ---

    def restart(self, truth: Truth, floor: int) -> None:
        """Begin a history."""
        self._truth = truth
        self.hub.restart(truth.epoch, Lsn(floor))

    def connect(self) -> None:
        """Let the stream begin where the log ends: the newest commit comes again."""
        self._rejoin = Rejoin(self.hub.history)
        self._next = self._truth.behind(self._rejoin.after)
        self.is_streaming = True

    def lose_stream(self) -> None:
        self.is_streaming = False
        self.hub.interrupt()

    @property
    def backlog(self) -> int:
        """Count the flushed commits that the stream has not brought yet."""
        return len(self._truth.log) - self._next

    def receive(self, count: int, now: float) -> None:
        """Let the stream bring some commits."""
        batch = self._truth.log[self._next : self._next + count]
        self._next += len(batch)
        try:
            self.hub.deliver(self._rejoin.check(batch), now)
        except BrokenHistory as error:
            raise AssertionError("the database has lost nothing that was flushed") from error

    def advance(self, position: int) -> None:
        """Let the stream tell a position: nothing ends between the last commit and it."""
        if self._rejoin.check_progress(Lsn(position)):
            self.hub.advance(Lsn(position))

    # --- copies ---

    def _want(self, copy: Copy, spec: ShapeSpec) -> None:
        self.jobs.append(Job(copy, _VIEW_OF[spec]))

    def read(self, job: Job, postgres: Postgres, random: Random) -> bool:
        """Go on with a copy; False when it has to wait."""
        if job.copy.is_dead:
            self.jobs.remove(job)
            return True
        if job.rows is None:
            return self._splice(job, postgres, random)
        count = random.choice([1, 2, 3, 6])
        chunk, job.rows = job.rows[:count], job.rows[count:]
        # The shell tells the end apart from the rows; a copy may as well end with its last rows.
        is_last = not chunk or (not job.rows and random.random() < 0.5)
        if is_last:
            self.jobs.remove(job)
        self.hub.copies.add_rows(job.copy, b",".join(chunk), is_last=is_last)
        return True

    def _splice(self, job: Job, postgres: Postgres, random: Random) -> bool:
        if not postgres.may_snapshot(VIEWS[job.view].table):
            return False
        if self.hub.splice(job.copy, postgres.snapshot(), Lsn(postgres.inserted)):
            rows = postgres.read(job.view)
            random.shuffle(rows)
            job.rows = rows
        return True

    def give_up(self, job: Job) -> None:
        """Let a copy fail."""
        self.jobs.remove(job)
        self.hub.copies.give_up(job.copy, "unavailable", "the simulation said so")
