"""The log beside a list that keeps everything, and looks for every answer by walking over it."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.tests.core.stream.test_history import FLOOR, commit, weight
from engine.tests.core.wal.tables import chance
from tidewire.core.model.lsn import Lsn
from tidewire.core.model.transaction import Transaction
from tidewire.core.stream.history import History, Mark, Place
from tidewire.core.stream.splice import Snapshot


class Kept(NamedTuple):
    transaction: Transaction
    arrived: float
    weight: int
    after: int


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
        new = commit(
            self.progress + gap, xid=len(self.all), size=size, rows=rows, spooled=size > 1000
        )
        assert self.log.append(new, self.now) == len(self.all)
        self.all.append(Kept(new, self.now, weight(new), self.progress))
        self.progress = max(self.progress, new.lsn)
        while len(self.left) > 1 and sum(kept.weight for kept in self.left) > self.BYTES:
            self.dropped += 1

    @rule(seconds=st.integers(1, 8))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        self.log.expire(self.now)
        while len(self.left) > 1 and (
            not self.left[0].transaction.rows or self.left[0].arrived + self.SECONDS < self.now
        ):
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

    @staticmethod
    def tag_of(seen: list[Kept]) -> str:
        marks = [kept.transaction.tag for kept in seen if kept.transaction.rows]
        return marks[-1] if marks else ""

    @property
    def solid(self) -> int:
        gone = [kept.transaction for kept in self.all[: self.dropped]]
        return max((each.lsn for each in gone if each.rows), default=FLOOR)

    @property
    def floor(self) -> int:
        return self.left[0].after if self.dropped else FLOOR

    @invariant()
    def it_keeps_the_same_commits_under_the_same_numbers(self) -> None:
        assert (self.log.first, self.log.next) == (self.dropped, len(self.all))
        assert self.log.bytes == sum(kept.weight for kept in self.left)
        for number in range(self.dropped, len(self.all)):
            assert self.log.at(number) is self.all[number].transaction

    @invariant()
    def it_knows_floor_progress_and_tag(self) -> None:
        assert (self.log.floor, self.log.progress) == (self.floor, self.progress)
        assert self.log.tag == self.tag_of(self.all)

    @invariant()
    def it_tells_every_reader_where_it_stands(self) -> None:
        for number in range(self.dropped, len(self.all) + 1):
            last = self.all[number - 1].transaction if number else None
            mark = self.tag_of(self.all[:number])
            seen = last.lsn if last and number > self.dropped else self.floor
            assert self.log.before(number) == (seen, mark)
            is_tail = number == len(self.all)
            told = self.progress if is_tail else self.all[number].transaction.lsn - 1
            assert self.log.reached(number) == (told, mark)

    @invariant()
    def it_is_quiet_while_it_holds_no_rows(self) -> None:
        is_quiet = not any(kept.transaction.rows for kept in self.left)
        mark = Mark(Lsn(self.solid), self.tag_of(self.all[: self.dropped]))
        assert self.log.quiet == (None if self.log.has_unsettled or not is_quiet else mark)

    @rule()
    def everybody_sees_everything(self) -> None:
        self.log.settle(Snapshot(len(self.all), len(self.all)))

    @invariant()
    def it_locates_every_position(self) -> None:
        for lsn in range(FLOOR - 1, self.progress + 2):
            seen = [kept for kept in self.all if kept.transaction.lsn <= lsn]
            mark = self.tag_of(seen)
            right, _ = places = self.log.locate(Lsn(lsn), mark), self.log.locate(Lsn(lsn), "?")
            if lsn > self.progress:
                assert {place for place, _ in places} == {Place.AHEAD}
            elif lsn < self.solid:
                assert {place for place, _ in places} == {Place.LOST}
            else:
                assert right == (Place.FOUND, max(len(seen), self.dropped))
                assert places[1][0] is Place.FOREIGN


TestHistoryAndList = HistoryAndList.TestCase
TestHistoryAndList.settings = chance
