"""Goal: a copy follows the log from its snapshot on, misses no commit and takes none twice.

Method: as in `test_copies.py`.
"""

from __future__ import annotations

import pytest

from engine.tests.core.bench import (
    NOTES,
    TASKS,
    large_transaction,
    make_table,
    transaction,
)
from engine.tests.core.copying import (
    Stand,
    a_session,
    commits_of,
    ids_of,
)
from engine.tests.core.spool import MemorySpool
from tidewire import limits

CHANGED = make_table("notes", NOTES.relation.oid, ("id", "title"))


# --- the log ---


def test_what_a_snapshot_does_not_see_is_taken_from_the_log_wherever_it_is() -> None:
    stand = Stand()
    stand.append(*(transaction(lsn, NOTES.insert(lsn)) for lsn in (0x200, 0x210, 0x220)))
    copy = stand.open(a_session())
    assert stand.splice(copy, 0x200, 0x220, until=0x220)
    assert (list(copy.backlog), copy.number) == ([0, 2], 3)
    stand.follow_all()
    assert ids_of(commits_of(copy)) == [0x200, 0x220]
    assert [copy.number_of(i) for i in range(copy.commits)] == [0, 2]
    assert all(message["stage"] is True for message in commits_of(copy))


def test_a_commit_that_comes_later_is_taken_if_the_snapshot_does_not_see_it() -> None:
    """Until `until` it may; behind it nothing is in the rows, whatever its number is."""
    stand = Stand()
    copy = stand.open(a_session())
    assert stand.splice(copy, 0x210, until=0x230)
    for lsn, xid in [(0x200, 0x200), (0x210, 0x210), (0x230, 0x230), (0x240, 0x220)]:
        stand.append(transaction(lsn, NOTES.insert(lsn), xid=xid))
    stand.follow_all()
    assert ids_of(commits_of(copy)) == [0x210, 0x240]
    assert copy.number == 4


def test_commits_of_other_tables_leave_no_trace_but_readers_are_woken() -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    stand.append(transaction(0x200, TASKS.insert(1)))
    assert stand.follow() == 1
    assert (copy.commits, copy.number, stand.take_woken()) == (0, 1, [session])
    assert not stand.copies.has_news(stand.history)


def test_a_snapshot_that_the_log_does_not_reach_back_to_is_refused() -> None:
    stand = Stand(log_bytes=1)
    stand.append(transaction(0x200, NOTES.insert(1)), transaction(0x210, NOTES.insert(2)))
    copy = stand.open(a_session())
    assert not stand.splice(copy, 0x200)
    assert (copy.snapshot, list(copy.backlog)) == (None, [])
    assert stand.splice(copy, 0x210)


def test_a_copy_follows_nothing_before_its_snapshot_and_while_nobody_reads_it() -> None:
    stand, session = Stand(), a_session()
    copy = stand.open(session)
    stand.append(transaction(0x200, NOTES.insert(1)))
    assert (stand.follow(), stand.copies.has_news(stand.history)) == (0, False)
    assert stand.splice(copy, 0x200)
    assert stand.copies.has_news(stand.history)
    stand.copies.leave_all_but([], session)
    assert (stand.follow(), stand.copies.has_news(stand.history)) == (0, False)
    assert stand.open(session) is copy
    assert stand.follow() == 1
    assert ids_of(commits_of(copy)) == [1]


def test_no_more_commits_are_looked_at_than_was_said() -> None:
    stand, first, second = Stand(), a_session("1"), a_session("2")
    stand.spliced(first)
    tasks = stand.index.acquire(TASKS.spec)
    assert stand.splice(stand.open(second, tasks))
    stand.append(*(transaction(0x200 + i, NOTES.insert(i)) for i in range(5)))
    efforts = []
    while stand.copies.has_news(stand.history):
        efforts.append(stand.follow(3))
    assert efforts == [3, 3, 3, 1]


def test_a_log_that_was_faster_ends_the_copy_and_its_readers_begin_another() -> None:
    stand, session = Stand(log_bytes=1), a_session()
    copy = stand.spliced(session)
    stand.append(transaction(0x200, TASKS.insert(1)), transaction(0x210, TASKS.insert(2)))
    stand.follow_all()
    assert (copy.is_dead, stand.take_woken(), stand.failed) == (True, [session], [])
    assert not stand.copies._read_by, "its file takes room while somebody holds it"
    assert stand.open(session) is not copy


def test_a_missing_commit_that_has_left_the_log_ends_the_copy() -> None:
    stand, session = Stand(), a_session()
    stand.append(transaction(0x200, NOTES.insert(1)), transaction(0x210, NOTES.insert(2)))
    copy = stand.open(session)
    assert stand.splice(copy, 0x200)
    stand.history.expire(1e9)
    stand.follow_all()
    assert copy.is_dead


def test_a_table_that_changes_while_it_is_copied_ends_that() -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    stand.append(transaction(0x200, NOTES.insert(1)), transaction(0x210, CHANGED.insert(2)))
    stand.append(transaction(0x220, NOTES.insert(3)))
    stand.follow_all()
    assert stand.failed == [(copy, "schema_changed")]
    assert copy.is_dead
    assert len(stand.copies) == 0


def test_a_change_of_the_table_that_the_snapshot_has_seen_does_not_matter() -> None:
    stand = Stand()
    stand.append(transaction(0x200, CHANGED.insert(1)))
    copy = stand.spliced(a_session())
    stand.follow_all()
    assert stand.failed == []
    assert copy.commits == 0


def test_a_spool_that_is_full_of_commits_gives_the_copy_up() -> None:
    stand = Stand(MemorySpool(bytes_max=10))
    copy = stand.spliced(a_session())
    stand.append(transaction(0x200, NOTES.insert(1)))
    assert stand.follow() == 1
    assert stand.failed == [(copy, "unavailable")]


def test_a_row_that_does_not_decode_gives_the_copy_up() -> None:
    stand = Stand()
    copy = stand.spliced(a_session())
    relation, message = NOTES.insert(1)
    stand.append(transaction(0x200, (relation, message[:-1])))
    stand.follow_all()
    assert stand.failed == [(copy, "unavailable")]


def test_more_commits_than_a_copy_may_have_begin_another(monkeypatch: pytest.MonkeyPatch) -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    stand.append(*(transaction(0x200 + i, NOTES.insert(i)) for i in range(9)))
    stand.follow(1)
    monkeypatch.setattr(limits, "COPY_BYTES", 2 * copy.commit_bytes)
    stand.follow(1)
    assert not copy.is_dead
    stand.take_woken()
    stand.follow_all()
    assert (copy.is_dead, copy.commits) == (True, 3)
    assert (stand.take_woken(), stand.failed) == ([session], [])


# --- large commits ---


def test_a_large_commit_is_taken_part_by_part_and_readers_wait_for_all_of_it() -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    stand.append(
        transaction(0x200, NOTES.insert(100)),
        large_transaction(0x210, NOTES, TASKS),
        transaction(0x220, NOTES.insert(101)),
    )
    assert stand.follow(1) == 1
    stand.take_woken()
    efforts, sizes = [], []
    while copy.number == 1:
        efforts.append(stand.follow(1))
        sizes.append(copy.commits)
    assert efforts == [limits.CATCHUP_COMMITS] * len(efforts)
    assert len(set(sizes)) > 2
    assert stand.take_woken() == [session]
    stand.follow_all()
    messages = commits_of(copy)
    assert ids_of(messages) == [100, *range(20), 101]
    assert all(message["stage"] is True for message in messages)
    assert {part["shape"] for m in messages for part in m["parts"]} == {stand.notes.id}
    numbers = [copy.number_of(i) for i in range(copy.commits)]
    assert numbers == [0, *[1] * (len(messages) - 2), 2]


def test_parts_on_a_stage_are_frames_of_their_own() -> None:
    """Those of several copies come in between: nobody could tell which belong together."""
    stand = Stand()
    copy = stand.spliced(a_session())
    stand.append(large_transaction(0x210, NOTES))
    stand.follow_all()
    assert copy.commits > 1
    assert not any({"part", "last"} & message.keys() for message in commits_of(copy))


def test_a_large_commit_that_a_snapshot_missed_is_taken_before_those_behind_it() -> None:
    stand = Stand()
    stand.append(large_transaction(0x200, NOTES), transaction(0x210, NOTES.insert(99)))
    copy = stand.open(a_session())
    assert stand.splice(copy, 0x200, 0x210)
    stand.follow_all()
    assert ids_of(commits_of(copy)) == [*range(20), 99]
    assert not copy.backlog


def test_two_large_commits_are_taken_one_after_another() -> None:
    stand = Stand()
    copy = stand.spliced(a_session())
    stand.append(large_transaction(0x200, NOTES), large_transaction(0x210, NOTES))
    stand.follow_all()
    assert ids_of(commits_of(copy)) == [*range(20)] * 2
    assert copy.number == 2


def test_a_table_that_changes_in_a_large_commit_ends_its_copy() -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    stand.append(large_transaction(0x200, CHANGED))
    assert stand.follow() == 1
    assert stand.failed == [(copy, "schema_changed")]
    assert copy.commits == 0


def test_a_spool_that_is_full_in_a_large_commit_gives_the_copy_up() -> None:
    stand = Stand(MemorySpool(bytes_max=3 * limits.COMMIT_PART_BYTES))
    copy = stand.spliced(a_session())
    stand.append(large_transaction(0x200, NOTES))
    stand.follow_all()
    assert stand.failed == [(copy, "unavailable")]


def test_a_large_commit_may_be_more_than_a_copy_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    stand, session = Stand(), a_session()
    copy = stand.spliced(session)
    monkeypatch.setattr(limits, "COPY_BYTES", 1)
    stand.append(large_transaction(0x200, NOTES))
    stand.follow_all()
    assert (copy.is_dead, stand.failed) == (True, [])


def test_a_copy_that_has_much_to_look_at_lets_the_others_go_first_next_time() -> None:
    stand = Stand()
    first = stand.spliced(a_session())
    second = stand.open(a_session("b"), stand.index.acquire(TASKS.spec))
    assert stand.splice(second, until=stand.history.progress)
    stand.append(*(transaction(0x200 + lsn, NOTES.insert(lsn)) for lsn in range(4)))
    for expected in ((2, 0), (2, 2), (4, 2), (4, 4)):
        assert stand.copies.follow(stand.history, 2) == 2
        assert (first.number, second.number) == expected
