"""Messages become transactions in the order of the picture, and in no other.

Method: streams of `pgoutput.py` go in; transactions come out, or a DecodeError for what is
misplaced. The spool is the real one, or one in memory that can be full.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core import pgoutput
from engine.tests.core.pgoutput import begin, commit, insert, relation, truncate
from engine.tests.core.spool import MemorySpool
from engine.tests.core.wal.tables import chance
from tidewire import limits
from tidewire.core.model.relation import JsonForm
from tidewire.core.model.spool import Spool
from tidewire.core.model.transaction import Transaction
from tidewire.core.wal.assembler import Assembler
from tidewire.errors import DecodeError, SpoolError
from tidewire.spool.file import FileSpool

USERS = relation(1, "public", "users", [("id", pgoutput.INT4, True)])
POSTS = relation(2, "public", "posts", [("id", pgoutput.INT4, True)])
ROW = insert(1, [b"1"])


def assembler(*, memory: int = 10**9, spool: Spool | None = None) -> Assembler:
    return Assembler(spool or MemorySpool(0), memory)


def assemble(*messages: bytes, memory: int = 10**9, spool: Spool | None = None) -> Transaction:
    (transaction,) = assembler(memory=memory, spool=spool).feed(messages)
    return transaction


def rows(transaction: Transaction) -> list[bytes]:
    return [message for _, message in transaction.messages]


def test_a_transaction_is_complete_with_its_commit_and_not_before() -> None:
    machine = assembler()
    states = [machine.is_open]
    found = []
    for message in (USERS, begin(), ROW, commit(), USERS):
        found.append(len(machine.feed([message])))
        states.append(machine.is_open)
    assert found == [0, 0, 0, 1, 0]
    assert states == [False, False, True, True, False, False]


def test_a_transaction_says_what_begin_and_commit_said() -> None:
    found = assemble(
        begin(xid=9, final_lsn=0x500, at_us=pgoutput.AT_US),
        USERS,
        ROW,
        insert(1, [b"22"]),
        commit(commit_lsn=0x500, end_lsn=0x530, at_us=pgoutput.AT_US + 1),
    )
    assert (found.lsn, found.xid, found.at) == (0x530, 9, pgoutput.AT_US + 1)
    assert (found.rows, found.size, found.is_spooled) == (2, len(ROW) + len(ROW) + 1, False)
    assert rows(found) == [ROW, insert(1, [b"22"])]


def test_transactions_come_out_one_after_another_however_the_stream_is_cut() -> None:
    stream = [USERS]
    for number in range(1, 4):
        stream += pgoutput.transaction_messages(0x100 * number, [ROW] * number, xid=number)
    whole = assembler().feed(stream)
    machine = assembler()
    single = [found for message in stream for found in machine.feed([message])]
    assert [(t.lsn, t.xid, t.rows, t.size) for t in whole] == [
        (0x100, 1, 1, len(ROW)),
        (0x200, 2, 2, 2 * len(ROW)),
        (0x300, 3, 3, 3 * len(ROW)),
    ]
    assert [rows(t) for t in whole] == [rows(t) for t in single]
    assert [t.lsn for t in whole] == [t.lsn for t in single]


def test_every_kind_of_row_message_is_kept_as_it_came() -> None:
    sent = [ROW, pgoutput.update(1, [b"1"]), pgoutput.delete(1, [b"1"])]
    assert rows(assemble(begin(), USERS, *sent, commit())) == sent


def test_an_empty_transaction_and_the_word_of_its_origin_are_fine() -> None:
    found = assemble(begin(), pgoutput.origin(), commit())
    assert (found.rows, found.size, rows(found)) == (0, 0, [])


# --- relations ---


def test_a_relation_that_is_repeated_stays_the_same_object() -> None:
    machine = assembler()
    first, second = (
        list(machine.feed([begin(), USERS, ROW, USERS, ROW, commit()])[0].messages)
        + list(machine.feed([begin(), USERS, ROW, commit()])[0].messages)
    )[::2]
    assert first[0] is second[0]


def test_a_changed_relation_is_another_object_and_old_rows_keep_theirs() -> None:
    wider = [("id", pgoutput.INT4, True), ("name", pgoutput.TEXT, False)]
    row = insert(1, [b"2", b"x"])
    found = assemble(begin(), USERS, ROW, relation(1, "public", "users", wider), row, commit())
    (old, _), (new, _) = found.messages
    assert [len(version.columns) for version in (old, new)] == [1, 2]


def test_a_relation_may_be_announced_outside_of_a_transaction() -> None:
    assert assemble(USERS, begin(), ROW, commit()).rows == 1


@pytest.mark.parametrize(
    ("messages", "form"),
    [
        ((pgoutput.type_name(9000, "", "int4"),), JsonForm.NUMBER),
        ((pgoutput.type_name(9000, "pg_catalog", "jsonb"),), JsonForm.JSON),
        ((pgoutput.type_name(9000, "public", "int4"),), JsonForm.TEXT),
        ((), JsonForm.TEXT),
    ],
)
def test_a_domain_has_the_form_that_a_type_message_gave_it(
    messages: Sequence[bytes], form: JsonForm
) -> None:
    table = relation(1, "public", "users", [("id", 9000, True)])
    ((version, _),) = assemble(begin(), *messages, table, ROW, commit()).messages
    assert version.columns[0].form is form


def test_a_domain_that_got_another_base_makes_another_version() -> None:
    table = relation(1, "public", "users", [("id", 9000, True)])
    named = pgoutput.type_name(9000, "", "int4")
    (old, _), (new, _) = assemble(begin(), table, ROW, named, table, ROW, commit()).messages
    assert [old.columns[0].form, new.columns[0].form] == [JsonForm.TEXT, JsonForm.NUMBER]


def test_truncate_of_several_tables_is_one_message_for_each_that_is_known() -> None:
    found = assemble(begin(), USERS, POSTS, truncate([2, 3, 1]), commit())
    assert [(version.name, data) for version, data in found.messages] == [
        ("posts", b"T\0\0\0\2"),
        ("users", b"T\0\0\0\1"),
    ]
    assert (found.rows, found.size) == (2, 10)


# --- the spool ---


def test_a_transaction_at_its_share_of_memory_stays_there() -> None:
    assert not assemble(begin(), USERS, ROW, ROW, commit(), memory=2 * len(ROW)).is_spooled


@pytest.mark.parametrize("count", [1, 2, 7])
def test_beyond_its_share_it_moves_to_the_spool_and_reads_the_same_many_times(count: int) -> None:
    sent = [insert(1 + i % 2, [b"%d" % i]) for i in range(count)]
    messages = [begin(), USERS, POSTS, *sent, commit()]
    spooled = assemble(*messages, memory=len(ROW) - 1, spool=FileSpool())
    kept = assemble(*messages)
    assert spooled.is_spooled
    assert (spooled.rows, spooled.size) == (kept.rows, kept.size)
    for _ in range(3):
        assert list(spooled.messages) == list(kept.messages)


@chance
@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=40), st.integers(1, 100), st.integers(0, 300)
)
def test_wherever_a_block_ends_the_records_are_the_same(
    sizes: list[int], block: int, memory: int
) -> None:
    sent = [insert(1, [bytes([65 + i % 26]) * size]) for i, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SPOOL_BLOCK_BYTES", block)
        found = assemble(begin(), USERS, *sent, commit(), memory=memory, spool=MemorySpool())
        assert found.is_spooled == (found.size > memory)
        assert [rows(found), rows(found)] == [sent, sent]


def test_a_record_larger_than_many_blocks_is_read_whole() -> None:
    sent = [ROW, insert(1, [b"x" * (3 * limits.SPOOL_BLOCK_BYTES)]), ROW]
    found = assemble(begin(), USERS, *sent, commit(), memory=0, spool=FileSpool())
    assert rows(found) == sent


def test_what_is_spooled_leaves_memory_while_the_transaction_grows() -> None:
    spool = MemorySpool()
    machine = assembler(memory=0, spool=spool)
    row = insert(1, [b"x" * 10_000])
    count = 3 * limits.SPOOL_BLOCK_BYTES // len(row)
    machine.feed([begin(), USERS, *[row] * count])
    assert machine.is_open
    assert spool.bytes > count * len(row) - 2 * limits.SPOOL_BLOCK_BYTES


def test_two_readers_of_one_spooled_transaction_do_not_disturb_one_another() -> None:
    sent = [insert(1, [b"%d" % i]) for i in range(5)]
    found = assemble(begin(), USERS, *sent, commit(), memory=0, spool=FileSpool())
    pairs = zip(found.messages, found.messages, strict=True)
    assert [left == right for left, right in pairs] == [True] * 5


def test_versions_of_a_relation_are_told_apart_in_the_spool() -> None:
    other = relation(1, "public", "users", [("number", pgoutput.INT4, True)])
    messages = [begin(), USERS, ROW, other, ROW, USERS, ROW, commit()]
    found = assemble(*messages, memory=0, spool=MemorySpool())
    assert [version.columns[0].name for version, _ in found.messages] == ["id", "number", "id"]


def test_a_truncate_in_the_spool_is_read_back() -> None:
    found = assemble(begin(), USERS, truncate([1]), commit(), memory=0, spool=MemorySpool())
    assert rows(found) == [b"T\0\0\0\1"]


def test_the_transaction_after_a_spooled_one_is_in_memory_again() -> None:
    machine = assembler(memory=len(ROW), spool=MemorySpool())
    large, small = machine.feed([begin(), USERS, ROW, ROW, commit(), begin(), ROW, commit()])
    assert (large.is_spooled, small.is_spooled) == (True, False)
    assert (rows(large), rows(small)) == ([ROW, ROW], [ROW])


@pytest.mark.parametrize("room", [0, 10])
def test_a_spool_without_room_is_told_upwards(room: int) -> None:
    machine = assembler(memory=0, spool=MemorySpool(room))
    with pytest.raises(SpoolError):
        machine.feed([begin(), USERS, ROW, commit()])


def test_messages_of_the_application_are_not_rows() -> None:
    message = b"M\1" + bytes(8) + b"prefix\0" + bytes(4)
    heartbeat = assemble(begin(), message, commit())
    assert (heartbeat.rows, rows(heartbeat)) == (0, [])
    assert assembler().feed([message]) == []


# --- what is misplaced ---


@pytest.mark.parametrize(
    ("messages", "place", "problem"),
    [
        ([ROW], ("Row", "kind", 0), "outside of any transaction"),
        ([USERS, ROW], ("Row", "kind", 0), "outside of any transaction"),
        ([begin(), ROW], ("Row", "relation", 1), "relation 1 was not announced"),
        ([begin(), USERS, b"I\0\0\0"], ("Row", "relation", 1), "4 bytes expected, 3 left"),
        ([begin(), begin()], ("Begin", "kind", 0), "before is not complete"),
        ([commit()], ("Commit", "kind", 0), "no transaction is open"),
        ([begin(), commit(), commit()], ("Commit", "kind", 0), "no transaction is open"),
        ([begin(), commit(0x999)], ("Commit", "commit_lsn", 2), "not what Begin announced"),
        ([begin(), commit(end_lsn=0)], ("Commit", "end_lsn", 10), "0/0 found"),
        ([truncate([1])], ("Truncate", "kind", 0), "outside of any transaction"),
        ([USERS, truncate([1])], ("Truncate", "kind", 0), "outside of any transaction"),
        ([b""], ("Message", "kind", 0), "not of pgoutput"),
        ([begin(), b"S\0"], ("Message", "kind", 0), "b'S' is not of pgoutput"),
        ([b"S"], ("Message", "kind", 0), "not of pgoutput"),
    ],
)
def test_a_misplaced_message_is_refused_by_name(
    messages: list[bytes], place: tuple[str, str, int], problem: str
) -> None:
    with pytest.raises(DecodeError, match=problem) as caught:
        assembler().feed(messages)
    assert (caught.value.message, caught.value.field, caught.value.offset) == place


def test_what_the_log_keeps_is_nothing_to_the_garbage_collector() -> None:
    kept = assemble(*pgoutput.transaction_messages(0x100, [USERS, ROW]))
    for _ in range(3):  # it lets go of a tuple when it has let go of all that is in it
        gc.collect()
    (row,) = kept.messages
    assert not any(gc.is_tracked(each) for each in (kept, kept.messages, row))
