"""The log beside a list that keeps everything, and looks for every answer by walking over it."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.tests.core.stream.test_history import FLOOR, commit, weight
from engine.tests.core.wal.tables import chance
from tidewire.core.model.lsn import Lsn
from tidewire.core.model.transaction import Transaction
from tidewire.core.stream.history import History, Place


class Kept(NamedTuple):
    transaction: Transaction
    arrived: float
    weight: int


class HistoryAndList(RuleBasedStateMachine):
    """The log beside a list of all commits that ever were; `dropped` of them are gone."""

    BYTES, SECONDS = 3000, 10.0

    def __init__(self) -> None:
        super().__init__()
        self.log = History(FLOOR, bytes_max=self.BYTES, seconds_max=self.SECONDS)
        self.all: list[Kept] = []
        self.dropped = 0
        self.progress = int(FLOOR)
        self.now = 0.0

    @rule(gap=st.integers(1, 3), size=st.integers(0, 1500), rows=st.integers(0, 3))
    def append(self, gap: int, size: int, rows: int) -> None:
        end = self.all[-1].transaction.lsn if self.all else FLOOR
        new = commit(end + gap, xid=len(self.all), size=size, rows=rows, spooled=size > 1000)
        assert self.log.append(new, self.now) == len(self.all)
        self.all.append(Kept(new, self.now, weight(new)))
        self.progress = max(self.progress, new.lsn)
        while len(self.left) > 1 and sum(kept.weight for kept in self.left) > self.BYTES:
            self.dropped += 1

    @rule(seconds=st.integers(1, 8))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        self.log.expire(self.now)
        while len(self.left) > 1 and self.left[0].arrived + self.SECONDS < self.now:
            self.dropped += 1

    @rule(seconds=st.integers(0, 30), is_ticking=st.booleans())
    def sleep(self, seconds: int, is_ticking: bool) -> None:
        self.log.pause(self.now)
        self.now += seconds
        if is_ticking:
            self.log.expire(self.now)
        self.log.resume(self.now)
        self.all = [kept._replace(arrived=kept.arrived + seconds) for kept in self.all]

    @rule(back=st.integers(-1, 12))
    def shed(self, back: int) -> None:
        below = Lsn(self.progress - back)
        self.log.shed(below)
        while len(self.left) > 1 and self.left[0].transaction.lsn <= below:
            self.dropped += 1

    @rule(gap=st.integers(-2, 3))
    def advance(self, gap: int) -> None:
        self.log.advance(Lsn(self.progress + gap))
        self.progress += max(0, gap)

    @property
    def left(self) -> list[Kept]:
        return self.all[self.dropped :]

    def seen_at(self, lsn: int) -> list[Transaction]:
        return [kept.transaction for kept in self.all if kept.transaction.lsn <= lsn]

    @property
    def floor(self) -> int:
        return self.all[self.dropped - 1].transaction.lsn if self.dropped else FLOOR

    @invariant()
    def it_keeps_the_same_commits_under_the_same_numbers(self) -> None:
        assert (self.log.first, self.log.next) == (self.dropped, len(self.all))
        assert self.log.bytes == sum(kept.weight for kept in self.left)
        for number in range(self.dropped, len(self.all)):
            assert self.log.at(number) is self.all[number].transaction

    @invariant()
    def it_knows_floor_progress_and_tag(self) -> None:
        assert (self.log.floor, self.log.progress) == (self.floor, self.progress)
        assert self.log.tag == (self.all[-1].transaction.tag if self.all else "")

    @invariant()
    def it_tells_every_reader_where_it_stands(self) -> None:
        for number in range(self.dropped, len(self.all) + 1):
            last = self.all[number - 1].transaction if number else None
            assert self.log.before(number) == ((last.lsn, last.tag) if last else (FLOOR, ""))
            is_tail = number == len(self.all)
            told = self.progress if is_tail else self.all[number].transaction.lsn - 1
            assert self.log.reached(number) == (told, last.tag if last else "")

    @invariant()
    def it_locates_every_position(self) -> None:
        for lsn in range(FLOOR - 1, self.progress + 2):
            seen = self.seen_at(lsn)
            mark = seen[-1].tag if seen else ""
            right, _ = places = self.log.locate(Lsn(lsn), mark), self.log.locate(Lsn(lsn), "?")
            if lsn > self.progress:
                assert {place for place, _ in places} == {Place.AHEAD}
            elif lsn < self.floor:
                assert {place for place, _ in places} == {Place.LOST}
            else:
                assert right == (Place.FOUND, len(seen))
                assert places[1][0] is Place.FOREIGN


TestHistoryAndList = HistoryAndList.TestCase
TestHistoryAndList.settings = chance
