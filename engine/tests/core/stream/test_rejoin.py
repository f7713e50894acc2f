"""A stream that starts again must bring the newest commit of the log again, first and unchanged.

Method: a log of a few commits, and streams that begin with the right one, another one, or none.
"""

from __future__ import annotations

import pytest

from tidewire.core.model.lsn import Lsn, Xid
from tidewire.core.model.transaction import Transaction
from tidewire.core.stream.history import History
from tidewire.core.stream.rejoin import BrokenHistory, Rejoin

FLOOR = Lsn(100)


def commit(lsn: int, *, xid: int = 1, at: int = 0xA, rows: int = 0) -> Transaction:
    return Transaction(Lsn(lsn), Xid(xid), at, (), size=0, rows=rows)


def rejoin(*ends: int) -> Rejoin:
    log = History(FLOOR)
    for lsn in ends:
        log.append(commit(lsn), 0.0)
    return Rejoin(log)


@pytest.mark.parametrize(("ends", "after"), [((), 100), ((110,), 100), ((110, 120, 130), 120)])
def test_the_stream_starts_before_the_newest_commit(ends: tuple[int, ...], after: int) -> None:
    assert rejoin(*ends).after == after


def test_an_empty_log_is_continued_by_anything() -> None:
    start = rejoin()
    new = [commit(110), commit(120)]
    assert start.is_complete
    assert start.check(iter(new)) == new
    assert start.check_progress(Lsn(10**9))


def test_the_commit_that_comes_again_is_not_new_and_those_behind_it_are() -> None:
    start = rejoin(110, 120)
    assert start.check([commit(120), commit(130)]) == [commit(130)]
    assert start.check([commit(140)]) == [commit(140)]


def test_it_waits_until_the_commit_has_come() -> None:
    start = rejoin(110, 120)
    states = [start.is_complete]
    for transactions in ([], [commit(120)]):
        assert start.check(transactions) == []
        states.append(start.is_complete)
    assert states == [False, False, True]


@pytest.mark.parametrize(
    "other", [commit(120, xid=2), commit(120, at=0xB), commit(119), commit(110), commit(130)]
)
def test_another_commit_in_its_place_is_another_history(other: Transaction) -> None:
    start = rejoin(110, 120)
    with pytest.raises(BrokenHistory, match=other.tag):
        start.check([other, commit(140)])
    assert not start.is_complete


@pytest.mark.parametrize("lsn", [120, 121])
def test_a_stream_that_passes_the_commit_without_it_is_another_history(lsn: int) -> None:
    with pytest.raises(BrokenHistory, match="did not come again"):
        rejoin(110, 120).check_progress(Lsn(lsn))


def test_progress_below_the_commit_says_nothing_yet() -> None:
    start = rejoin(110, 120)
    assert not start.check_progress(Lsn(119))
    start.check([commit(120)])
    assert start.check_progress(Lsn(120))


@pytest.mark.parametrize(("progress", "is_there"), [(149, False), (150, True)])
def test_a_stream_comes_to_the_end_of_a_log_without_commits(progress: int, is_there: bool) -> None:
    log = History(FLOOR)
    log.advance(Lsn(150))
    assert Rejoin(log).check_end(Lsn(progress)) == is_there


@pytest.mark.parametrize("ends", [(), (110, 120)])
def test_a_commit_where_clients_were_told_that_there_is_none_is_another_history(
    ends: tuple[int, ...],
) -> None:
    log = History(FLOOR)
    for lsn in ends:
        log.append(commit(lsn), 0.0)
    log.advance(Lsn(150))
    again = [commit(120)] if ends else []
    assert Rejoin(log).check([*again, commit(151)]) == [commit(151)]
    with pytest.raises(BrokenHistory, match="where there was none"):
        Rejoin(log).check([*again, commit(150)])


def test_a_stream_that_reads_ahead_begins_behind_the_log() -> None:
    log = History(FLOOR)
    log.append(commit(110), 0.0)
    log.advance(Lsn(115))
    ahead = Rejoin.ahead(log)
    assert (ahead.after, ahead.is_complete) == (115, True)
    assert ahead.check([commit(120)]) == [commit(120)]
    with pytest.raises(BrokenHistory, match="where there was none before"):
        Rejoin.ahead(log).check([commit(112)])


def test_what_a_stream_ahead_has_brought_is_not_new() -> None:
    log = History(FLOOR)
    log.append(commit(110), 0.0)
    behind, ahead = Rejoin(log), Rejoin.ahead(log)
    for transaction in ahead.check([commit(120), commit(130)]):
        log.append(transaction, 0.0)
    assert behind.check([commit(110), commit(120)]) == []
    assert behind.is_complete
    assert behind.check([commit(130), commit(140)]) == [commit(140)]
    log.append(commit(140), 0.0)
    assert behind.check([commit(150)]) == [commit(150)]


@pytest.mark.parametrize(
    "other",
    [commit(115, rows=1), commit(120, rows=1), commit(120, xid=2, rows=2), commit(125, rows=1)],
)
def test_a_stream_ahead_has_left_something_out(other: Transaction) -> None:
    log = History(FLOOR)
    log.append(commit(110), 0.0)
    behind = Rejoin(log)
    log.append(commit(120, rows=2), 0.0)
    log.advance(Lsn(125))
    with pytest.raises(BrokenHistory, match="was not told"):
        behind.check([commit(110), other])


def test_what_is_left_out_need_not_be_in_the_log() -> None:
    # Goal: commits without rows need not come twice, and the log may have dropped old ones.
    log = History(FLOOR)
    log.append(commit(110), 0.0)
    behind = Rejoin(log)
    for lsn in (120, 130):
        log.append(commit(lsn, rows=1), 0.0)
    log.shed(Lsn(120))
    again = [commit(110), commit(115), commit(120, rows=1), commit(130, rows=1)]
    assert behind.check([*again, commit(140)]) == [commit(140)]
