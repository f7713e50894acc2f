"""The whole system, driven step by step by one seed: database, node, links and clients.

Method: each step lets one part of it do something: a statement, a flush, a message on its way, a
turn of the hub, a piece of a copy, a disaster. Which steps are frequent differs from seed to seed.
After the last step everything calms down, and then nothing may hang and nothing may be left over.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engine.tests.simulation.client import Client
from engine.tests.simulation.system import System
from tidewire import limits
from tidewire.core import lens
from tidewire.core.parts import CommitParts
from tidewire.core.session.client import State
from tidewire.core.shape.predicate import Predicate
from tidewire.errors import TidewireError

STEP_S = 0.01
_CALM_ROUNDS, _STALLED_ROUNDS = 400, 12

Step = Callable[[], None]


@contextmanager
def small_world() -> Iterator[None]:
    """Make bounds so small that little data meets all of them; and generate code only once."""
    with pytest.MonkeyPatch.context() as patch:
        bounds = {
            "COMMIT_PART_BYTES": 400,
            "WINDOW_BYTES": 1_000,
            "WINDOW_MARK_BYTES": 120,
            "CATCHUP_COMMITS": 3,
            "COPY_KEEP_S": 0.3,
        }
        for name, value in bounds.items():
            patch.setattr(limits, name, value)
        patch.setattr("tidewire.core.copies._COMMITS_ALWAYS_BYTES", 200)
        patch.setattr("tidewire.core.parts.ROWS_PER_STEP", 4)
        # A default is read when its module is loaded.
        defaults = CommitParts.__init__.__kwdefaults__ or {}
        patch.setitem(defaults, "part_bytes_max", 400)
        for name in ("RowDecoder", "RowRenderer", "compile_insert"):
            patch.setattr(lens, name, functools.cache(getattr(lens, name)))
        patch.setattr(Predicate, "compile", functools.cache(Predicate.compile))
        yield


class World(System):
    """One run: steps, and then the calm in which everything must arrive."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.done: list[str] = []

    def run(self, steps: int) -> None:
        chosen = self.choose(steps)
        try:
            self.warm_up()
            for step in chosen:
                self.done.append(step.__name__)
                self.now += STEP_S
                step()
                self.collect()
            self.done.append("calm_down")
            self.calm_down()
        except (AssertionError, TidewireError, LookupError, AttributeError, TypeError) as error:
            error.add_note(
                f"seed {self.seed} after {len(self.done)} steps: {' '.join(self.done[-20:])}\n"
                "replay: PYTHONPATH=.:engine python -m engine.tests.simulation.replay "
                f"{self.seed} {steps}"
            )
            raise

    def choose(self, steps: int) -> list[Step]:
        steps_and_weights = [
            *((step, weight * self.random.choice([0.5, 1, 2])) for step, weight in self.usual()),
            # Of the disasters each run knows some only, but those often.
            *((step, weight * self.random.choice([0, 0, 1, 3])) for step, weight in self.bad()),
        ]
        all_steps = [step for step, _ in steps_and_weights]
        weights = [
            max(weight, 1) * self.mood[step.__name__] if step.__name__ in self.mood else weight
            for step, weight in steps_and_weights
        ]
        return self.random.choices(all_steps, weights, k=steps)

    def usual(self) -> list[tuple[Step, float]]:
        return [
            (self.transact, 28),
            (self.flush, 16),
            (self.see, 20),
            (self.pass_time, 0.5),
            (self.receive, 18),
            (self.advance, 5),
            (self.turn, 26),
            (self.read_copies, 14),
            (self.talk, 44),
            (self.settle_and_report, 5),
            (self.tick, 3),
            (self.connect, 8),
            (self.ask_again, 4),
            (self.bury, 2),
            (self.write_down, 4),
        ]

    def bad(self) -> list[tuple[Step, float]]:
        return [
            (self.cut, 3),
            (self.block, 2),
            (self.subscribe, 4),
            (self.unsubscribe, 2),
            (self.wait, 2),
            (self.fail_copy, 0.5),
            (self.alter, 0.5),
            (self.refuse, 1),
            (self.leave, 0.5),
            (self.die, 1),
            (self.lose_stream, 0.7),
            (self.crash, 0.7),
            (self.kill, 0.9),
            (self.replace_slot, 0.25),
            (self.restore_backup, 0.25),
        ]

    def warm_up(self) -> None:
        for _ in range(self.random.randint(0, 8)):
            self.application.write()
            self.application.end()
        self.flush()
        for client in self.clients:
            self.connect_one(client)
            if self.random.random() < 0.7:
                self.subscribe_one(client)
        self.collect()
        if self.random.random() < 0.6:
            while self.postgres.may_be_seen():
                self.see()
            self.exhaust()
            self.judge_resets()

    # --- the end ---

    def calm_down(self) -> None:
        """Let everything arrive; then all is there, and nothing hangs."""
        postgres = self.postgres
        for work in list(postgres.open):
            postgres.commit(work, 8)
        # A backup may be older than positions that clients wait for.
        waits = [lsn for client in self.clients for lsn in client.session._waits]
        postgres.inserted = max([postgres.inserted, *waits])
        postgres.flush(postgres.inserted)
        while self.ghosts:
            self.bury()
        for client in self.clients:
            if client.link is None:
                self.connect_one(client)
            elif client.link.is_blocked:
                client.link.is_blocked = False
                self.server.hub.stall(client.link.peer.session, False, self.now)
        self.trouble = 0
        # What still waits for a standby now, is waited for a little longer.
        for _ in range(_STALLED_ROUNDS):
            self.settle()
        while postgres.unseen:
            self.see()
        postgres.judge()
        self.exhaust()
        for client in self.clients:
            client.judge_end(self.server.progress)
        self.judge_resets()
        self.judge_leaks()

    def exhaust(self) -> None:
        """Go on until nothing moves, and then once more for what is due by the clock."""
        for _ in range(_CALM_ROUNDS):
            self.now += STEP_S
            if not self.settle():
                self.tick()
                self.collect()
                if not self.settle():
                    return
        raise AssertionError("it never comes to rest")

    def settle(self) -> bool:
        """Let each part do a little; False when nothing moves any more."""
        server = self.server
        has_moved = False
        if not server.is_streaming:
            server.connect()
        server.hub.history.settle(self.postgres.snapshot())
        if server.backlog:
            self.server.receive(5, self.now)
            has_moved = True
        elif server.progress < self.postgres.flushed:
            server.advance(self.postgres.flushed)
            has_moved = True
        has_moved |= server.turn()
        for job in list(server.jobs):
            has_moved |= server.read(job, self.postgres, self.random)
        self.collect()
        for client in self.clients:
            has_moved |= self.settle_client(client)
        return has_moved

    def settle_client(self, client: Client) -> bool:
        link = client.link
        assert link is not None
        has_moved = bool(client.refused)
        if client.refused and client.session.state is State.OPEN:
            client.ask_again()
        for _ in range(6):
            if not (self.send_one(link) | self.answer_one(link)):
                break
            has_moved = True
        self.collect()
        while self.deliver_one(client):
            has_moved = True
        return has_moved

    def judge_resets(self) -> None:
        """Nobody starts over for nothing (G6, G7)."""
        for client in self.clients:
            assert self.may_reset or not client.resets, f"{client.name} was reset for nothing"

    def judge_leaks(self) -> None:
        """Let everybody go: the hub must forget them all."""
        hub = self.server.hub
        assert not hub.copies._read_by, "nobody reads a copy when all are live"
        for client in self.clients:
            assert client.link is not None
            hub.leave(client.link.peer.session)
        for _ in range(2):
            hub.tick(self.now)
            self.now += limits.COPY_KEEP_S
        self.server.turn()
        left = [len(hub.index), len(hub.copies), len(hub.sessions), len(hub.index.tables)]
        inner = [hub._ready, hub._waiting, hub._joining._ahead, hub._live._running]
        inner += [hub._live._audiences._by_shapes, hub.copies._read_by, hub.copies._newest]
        assert not any([*left, *inner]), f"something is left behind: {left} {inner}"
