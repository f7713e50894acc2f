"""The log keeps the newest commits, finds every reader, and never lies about what it lost.

Method: the rules one by one; `test_history_model.py` walks by chance.
"""

from __future__ import annotations

import pytest

from tidewire import limits
from tidewire.core.model.lsn import LSN_ZERO, Lsn, Xid
from tidewire.core.model.transaction import Transaction
from tidewire.core.stream.history import History, Mark, Place
from tidewire.core.stream.splice import Snapshot

FLOOR = Lsn(100)


def commit(
    lsn: int, *, xid: int = 1, size: int = 0, rows: int = 1, spooled: bool = False
) -> Transaction:
    return Transaction(Lsn(lsn), Xid(xid), 0xA, (), size, rows, spooled)


def weight(transaction: Transaction) -> int:
    alone = History()
    alone.append(transaction, 0.0)
    return alone.bytes


@pytest.fixture
def history() -> History:
    """Hold commits that end at 110, 120 and 130, read up to 150."""
    log = History(FLOOR)
    for number, lsn in enumerate((110, 120, 130)):
        assert log.append(commit(lsn, xid=lsn), float(number)) == number
    log.advance(Lsn(150))
    return log


def tag(lsn: int) -> str:
    return commit(lsn, xid=lsn).tag


def test_an_empty_log_is_at_its_floor() -> None:
    log = History(FLOOR)
    assert (log.floor, log.progress, log.tag) == (FLOOR, FLOOR, "")
    assert (log.first, log.next, log.bytes) == (0, 0, 0)
    assert log.before(0) == (FLOOR, "")
    assert log.locate(FLOOR, "") == (Place.FOUND, 0)
    assert History().floor == LSN_ZERO


@pytest.mark.parametrize(
    ("lsn", "of", "number"),
    [(100, 0, 0), (109, 0, 0), (110, 110, 1), (119, 110, 1), (130, 130, 3), (150, 130, 3)],
)
def test_a_reader_goes_on_behind_its_position(
    history: History, lsn: int, of: int, number: int
) -> None:
    expected = tag(of) if of else ""
    assert history.locate(Lsn(lsn), expected) == (Place.FOUND, number)


@pytest.mark.parametrize("lsn", [100, 109, 110, 119, 150])
def test_another_tag_at_a_position_is_another_history(history: History, lsn: int) -> None:
    assert history.locate(Lsn(lsn), "beef-1")[0] is Place.FOREIGN


def test_no_tag_where_a_commit_is_known_is_another_history(history: History) -> None:
    assert history.locate(Lsn(110), "")[0] is Place.FOREIGN


@pytest.mark.parametrize("mark", ["", "beef-1", tag(130)])
def test_a_position_beyond_what_was_read_is_ahead_whatever_its_tag(
    history: History, mark: str
) -> None:
    assert history.locate(Lsn(151), mark)[0] is Place.AHEAD


@pytest.mark.parametrize("mark", ["", "beef-1"])
def test_a_position_below_the_floor_is_lost_whatever_its_tag(history: History, mark: str) -> None:
    assert history.locate(Lsn(99), mark)[0] is Place.LOST


def test_the_floor_has_the_tag_of_the_last_commit_that_was_dropped(history: History) -> None:
    history.expire(limits.LOG_S + 1.5)
    assert (history.floor, history.first) == (120, 2)
    assert history.before(2) == (120, tag(120))
    assert history.locate(Lsn(120), tag(120)) == (Place.FOUND, 2)
    assert history.locate(Lsn(125), tag(120)) == (Place.FOUND, 2)
    assert history.locate(Lsn(120), "")[0] is Place.FOREIGN
    assert history.locate(Lsn(119), tag(110))[0] is Place.LOST


def test_a_commit_as_old_as_the_window_is_still_kept(history: History) -> None:
    history.expire(limits.LOG_S)
    assert history.first == 0
    history.expire(limits.LOG_S + 0.5)
    assert history.first == 1


def test_a_log_that_is_paused_does_not_grow_older(history: History) -> None:
    history.pause(10.0)
    history.expire(1e9)
    assert history.first == 0
    history.resume(1e9)
    history.expire(1e9 - 10.0 + limits.LOG_S)
    assert history.first == 0
    history.append(commit(160), 1e9)
    history.expire(1e9 + limits.LOG_S)
    assert (history.first, history.next) == (3, 4)


def test_what_is_shed_leaves_the_log_but_never_the_newest_commit(history: History) -> None:
    history.shed(Lsn(109))
    assert history.first == 0
    history.shed(Lsn(110))
    assert (history.first, history.floor) == (1, 110)
    history.shed(Lsn(999))
    assert (history.first, history.floor) == (2, 120)
    History(FLOOR).shed(Lsn(999))


def test_a_restarted_log_knows_who_has_missed_nothing_before_it() -> None:
    log = History()
    log.restart("epoch", Lsn(200), solid=Mark(Lsn(150), "b-2"))
    assert log.quiet == Mark(Lsn(150), "b-2")
    log.advance(Lsn(210))
    for lsn in (150, 199, 200, 210):
        assert log.locate(Lsn(lsn), "b-2") == (Place.FOUND, 0)
        assert log.locate(Lsn(lsn), "")[0] is Place.FOREIGN
    assert log.locate(Lsn(149), "b-2")[0] is Place.LOST
    assert (log.tag, log.before(0)) == ("b-2", (200, "b-2"))
    log.append(commit(220), 0.0)
    assert log.quiet is None


def test_commits_without_rows_leave_the_log_at_once_and_cost_nobody_anything() -> None:
    log = History(FLOOR)
    for lsn in (110, 120, 130):
        log.append(commit(lsn, rows=0), 0.0)
    log.append(commit(140, xid=140), 0.0)
    log.append(commit(150, rows=0), 0.0)
    log.expire(0.0)
    assert (log.floor, log.newest, log.tag) == (130, 150, tag(140))
    assert log.locate(FLOOR, "") == (Place.FOUND, 3)
    log.expire(limits.LOG_S + 1)
    assert (log.floor, log.quiet) == (140, None)
    log.settle(Snapshot(999, 999))
    assert log.quiet == Mark(Lsn(140), tag(140))
    assert log.locate(Lsn(140), tag(140)) == (Place.FOUND, 4)
    assert log.locate(Lsn(139), "")[0] is Place.LOST


def test_time_never_drops_the_newest_commit(history: History) -> None:
    history.expire(1e12)
    assert (history.first, history.next, history.tag) == (2, 3, tag(130))
    assert history.at(2).lsn == 130


def test_bytes_drop_the_oldest_commits_first() -> None:
    one = weight(commit(1, size=50))
    log = History(bytes_max=2 * one)
    for lsn in (1, 2, 3):
        log.append(commit(lsn, size=50), 0.0)
    assert (log.first, log.floor, log.bytes) == (1, 1, 2 * one)


def test_bytes_never_drop_the_newest_commit_however_large() -> None:
    log = History(bytes_max=10)
    log.append(commit(1, size=10**6), 0.0)
    assert (log.first, log.next) == (0, 1)
    log.append(commit(2, size=10**6), 0.0)
    assert (log.first, log.next, log.floor) == (1, 2, 1)


def test_rows_in_memory_weigh_more_than_their_bytes_and_rows_in_the_spool_do_not() -> None:
    kept = weight(commit(1, size=1000, rows=10))
    spooled = weight(commit(1, size=1000, rows=10, spooled=True))
    assert kept > spooled > 1000
    assert spooled == weight(commit(1, size=1000, rows=0))


def test_progress_only_grows(history: History) -> None:
    history.advance(Lsn(140))
    assert history.progress == 150
    history.append(commit(145), 9.0)
    assert history.progress == 150
    history.append(commit(160), 9.0)
    assert history.progress == 160


@pytest.mark.parametrize("lsn", [100, 130])
def test_a_commit_that_is_not_behind_all_others_is_a_bug(history: History, lsn: int) -> None:
    with pytest.raises(AssertionError, match="commits in order"):
        history.append(commit(lsn), 9.0)
    with pytest.raises(AssertionError, match="commits in order"):
        History(FLOOR).append(commit(100), 0.0)


def test_a_reader_may_have_been_told_of_anything_before_its_next_commit(history: History) -> None:
    """Positions without commits were told between two commits: none of them is taken back."""
    found = [history.reached(number) for number in range(4)]
    assert found == [(109, ""), (119, tag(110)), (129, tag(120)), (150, tag(130))]


def test_a_reader_of_an_empty_log_has_reached_its_progress() -> None:
    log = History(FLOOR)
    log.advance(Lsn(120))
    assert log.reached(0) == (120, "")


def test_a_reader_at_the_floor_has_reached_what_lies_before_the_first_commit(
    history: History,
) -> None:
    history.expire(limits.LOG_S + 1.5)
    assert history.reached(2) == (129, tag(120))


def test_commits_side_by_side_leave_nothing_to_be_told_between_them() -> None:
    log = History(FLOOR)
    log.append(commit(101), 0.0)
    assert log.reached(0) == (100, "")


# --- what snapshots of the database see ---


def seeing(last: int, *missing: int) -> Snapshot:
    return Snapshot(min([*missing, last + 1]), last + 1, frozenset(missing))


def short_log(*lsns: int, kept: int = 1) -> History:
    """Make a log of commits whose xids are their positions, and that keeps the newest of them."""
    log = History(FLOOR, bytes_max=kept * weight(commit(1)))
    for lsn in lsns:
        log.append(commit(lsn, xid=lsn), 0.0)
    return log


@pytest.mark.parametrize(
    ("snapshot", "unseen"),
    [
        (seeing(130), []),
        (seeing(130, 120), [1]),
        (seeing(130, 110, 130), [0, 2]),
        (seeing(109), [0, 1, 2]),
        (seeing(119), [1, 2]),
    ],
)
def test_a_commit_that_a_snapshot_does_not_see_is_found_wherever_it_is_in_the_log(
    history: History, snapshot: Snapshot, unseen: list[int]
) -> None:
    assert history.unseen(snapshot) == unseen


def test_commits_keep_their_numbers_when_older_ones_are_dropped() -> None:
    log = short_log(110, 120, 130, kept=2)
    assert log.unseen(seeing(130, 130)) == [2]


def test_a_snapshot_without_a_commit_that_was_dropped_cannot_be_continued() -> None:
    """Its backend waits for a synchronous standby; the log has moved on without it."""
    log = short_log(110, 120, 130, 140)
    assert log.unseen(seeing(140, 120)) is None
    assert log.unseen(seeing(140, 140)) == [3]


def test_a_new_slot_waits_until_all_that_may_have_been_committed_before_it_is_visible() -> None:
    log = History()
    log.restart("epoch", Lsn(FLOOR), horizon=50)
    assert log.unseen(Snapshot(49, 60)) is None
    assert log.unseen(Snapshot(50, 60)) == []


def test_nothing_is_unsettled_before_commits_are_dropped(history: History) -> None:
    assert not history.has_unsettled
    assert history.settled == FLOOR
    history.settle(seeing(0))
    assert history.settled == FLOOR


def test_a_dropped_commit_is_settled_when_a_snapshot_sees_it() -> None:
    log = short_log(110, 120, 130)
    assert (log.has_unsettled, log.settled, log.floor) == (True, 100, 120)
    log.settle(seeing(130, 110))
    assert (log.has_unsettled, log.settled) == (True, 100)
    log.settle(seeing(110))
    assert (log.has_unsettled, log.settled) == (True, 110)
    log.settle(seeing(130))
    assert (log.has_unsettled, log.settled) == (False, 120)
    log = short_log(110, 120, 130)
    log.settle(seeing(130))
    assert (log.has_unsettled, log.settled) == (False, 120)


def test_a_commit_that_stays_invisible_holds_back_the_slot_and_no_snapshot_that_sees_it() -> None:
    log = short_log(110, 120, 130, 140)
    log.settle(seeing(140, 120))
    assert log.settled == 110
    assert log.unseen(seeing(140)) == []


def test_the_slot_may_follow_the_floor_again_when_all_is_settled() -> None:
    log = short_log(110, 120)
    log.settle(seeing(120))
    assert log.settled == log.floor == 110
    log.append(commit(130, xid=130), 0.0)
    assert (log.settled, log.floor) == (110, 120)
    log.settle(seeing(130))
    assert log.settled == 120


def test_another_history_has_nothing_unsettled() -> None:
    log = short_log(110, 120, 130)
    log.restart("epoch-2", Lsn(50))
    assert (log.epoch, log.has_unsettled, log.settled, log.floor) == ("epoch-2", False, 50, 50)
    assert (log.first, log.next, log.bytes, log.progress, log.tag) == (3, 3, 0, 50, "")
    assert log.unseen(seeing(1)) == []
    assert log.append(commit(60, xid=60), 0.0) == 3
    assert log.append(commit(70, xid=70), 0.0) == 4
    assert (log.has_unsettled, log.settled) == (True, 50)
    assert log.locate(Lsn(70), tag(70)) == (Place.FOUND, 5)


@pytest.mark.parametrize(
    ("snapshot", "is_continued"),
    [(Snapshot(49, 90), False), (Snapshot(50, 90), True), (Snapshot(50, 50), True)],
)
def test_a_snapshot_may_miss_what_was_committed_before_the_log_began(
    snapshot: Snapshot, is_continued: bool
) -> None:
    log = History()
    log.restart("epoch", FLOOR, horizon=50)
    assert (log.unseen(snapshot) == []) is is_continued
    log.restart("epoch", FLOOR)
    assert log.unseen(snapshot) == []
