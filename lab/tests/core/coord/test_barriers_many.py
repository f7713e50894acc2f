"""Goal: many barriers at once cost each arrival little, and nobody who is stuck is overlooked.

Method: searches for deadlocks are counted; random runs are played twice, the second time with a
search at every arrival.
"""

from __future__ import annotations

from random import Random

import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord import agents, barriers
from tidelab.core.coord.answer import Released
from tidelab.core.coord.barrier import Meeting
from tidelab.core.coord.barriers import Barriers
from tidelab.core.coord.command import Leave, Wait


def test_pairs_that_meet_beside_each_other_are_not_searched_for_deadlocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def search(*_: object) -> list[str]:
        raise AssertionError("each of them finds somebody who waits nowhere")

    monkeypatch.setattr(barriers, "find_deadlock", search)
    table = Table()
    peers = [table.join(f"a{n}", size=200) for n in range(200)]
    for first in (0, 1):
        for n in range(first, 200, 2):
            table.ask(peers[n], Wait(barrier=f"pair-{n // 2}", target=2))
    for n, peer in enumerate(peers):
        assert table.last(peer, Released).rank == n % 2


def test_agents_that_come_late_for_ever_are_forgotten_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (agents, barriers):
        monkeypatch.setattr(module, "COORD_AGENTS_MAX", 3)
    table = Table()
    first = table.join("first")
    table.ask(first, Wait(barrier="b", target=1))
    for n in range(20):
        late = table.join(f"late{n}")
        assert table.ok(late, Wait(barrier="b", target=1), Released).generation == 1
        table.ask(late, Leave())
    kept = {record.name for record in table.disk.values() if record.kind == "cursor"}
    assert len(kept) == 3
    assert "b late19" in kept
    table.restart()
    assert table.ok(table.join("late19"), Wait(barrier="b", target=1), Released).generation == 2


def test_random_runs_end_as_if_every_arrival_were_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ways = set[str]()
    for seed in range(300):
        quick = played(seed)
        with monkeypatch.context() as patched:
            patched.setattr(Barriers, "_will_fill", never)
            assert played(seed).told == quick.told, f"seed {seed}"
        ways |= quick.server.ended().keys()
    assert {"released", "deadlock", "broken"} <= ways


def never(barriers: Barriers, meeting: Meeting) -> bool:
    return False


def played(seed: int) -> Table:
    random, table = Random(seed), Table()
    names = "abcdef"[: random.randint(3, 6)]
    size = random.choice([None, len(names)])
    peers = {
        name: table.join(name, size=size, is_concurrent=random.random() < 0.1) for name in names
    }
    for _ in range(random.randint(4, 14)):
        name, barrier = random.choice(names), random.choice("xyz")
        if random.random() < 0.05:
            table.ask(peers[name], Leave())
        elif random.random() < 0.5:
            roster = tuple(sorted({name, *random.sample(names, 2)}))
            table.ask(peers[name], Wait(barrier=barrier + str(len(roster)), roster=roster))
        else:
            quorum = random.choice([None, None, 1])
            table.ask(
                peers[name], Wait(barrier=barrier, target=2 + (barrier == "x"), quorum=quorum)
            )
    return table
