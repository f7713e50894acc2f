"""Subscriptions on a stage read a copy up to where their session stands, and know when they met.

Method: copies with frames that are their own names, in memory; the session is a number and a
position.
"""

from __future__ import annotations

from engine.tests.core.bench import NOTES, TASKS, Table
from engine.tests.core.spool import MemorySpool
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.stage import Reader, Stage
from tidewire.core.shape.shape import Shape, ShapeId
from tidewire.core.stream.copy import Copy

FAR = 1_000
NOTES_SHAPE = Shape(ShapeId("s1"), NOTES.spec)
TASKS_SHAPE = Shape(ShapeId("s2"), TASKS.spec)


def make_copy(
    chunks: int = 2, commits: tuple[int, ...] = (), *, number: int = FAR, until: int = 0
) -> Copy:
    """Make a copy that is complete and has looked at all commits before `number`."""
    copy = Copy("c", MemorySpool().create)
    for i in range(chunks):
        copy.add_chunk(b"chunk %d" % i)
    for commit in commits:
        copy.add_commit(commit, b"commit %d" % commit)
    copy.is_complete, copy.number, copy.until = True, number, Lsn(until)
    return copy


def make_reader(copy: Copy | None = None, shape: Shape = NOTES_SHAPE) -> Reader:
    return Reader(shape, copy or make_copy())


def read(reader: Reader | Stage, number: int = FAR) -> list[bytes]:
    found = []
    while (frame := reader.next_frame(number)) is not None:
        found.append(frame)
    return found


def has_met(reader: Reader, number: int = FAR, position: int = FAR) -> bool:
    return reader.has_met(number, Lsn(position))


# --- one shape ---


def test_a_reader_reads_all_chunks_and_then_the_commits() -> None:
    reader = make_reader(make_copy(2, (5, 7)))
    assert read(reader) == [b"chunk 0", b"chunk 1", b"commit 5", b"commit 7"]
    assert read(reader) == []


def test_a_reader_goes_on_with_what_comes_later() -> None:
    copy = make_copy(1)
    copy.is_complete = False
    reader = make_reader(copy)
    assert read(reader) == [b"chunk 0"]
    copy.add_chunk(b"chunk 1")
    assert read(reader) == [b"chunk 1"]


def test_no_commit_is_read_before_the_last_chunk_is_there() -> None:
    copy = make_copy(1, (5,))
    copy.is_complete = False
    reader = make_reader(copy)
    assert read(reader) == [b"chunk 0"]
    copy.add_chunk(b"chunk 1")
    copy.is_complete = True
    assert read(reader) == [b"chunk 1", b"commit 5"]


def test_a_reader_stops_before_the_commit_that_its_session_gets_next() -> None:
    reader = make_reader(make_copy(1, (5, 6, 7)))
    assert read(reader, 6) == [b"chunk 0", b"commit 5"]
    assert read(reader, 6) == []
    assert read(reader, 7) == [b"commit 6"]


def test_a_reader_that_begins_again_reads_the_commits_again() -> None:
    copy = make_copy(3, (5,))
    reader = make_reader(copy)
    read(reader)
    reader.begin(copy, 2)
    assert read(reader) == [b"chunk 2", b"commit 5"]
    other = make_copy(1)
    reader.begin(other)
    assert (reader.copy, read(reader)) == (other, [b"chunk 0"])


def test_a_reader_has_met_the_log_when_it_has_read_all_before_that() -> None:
    reader = make_reader(make_copy(2, (5, 7), number=8))
    seen = []
    while not has_met(reader, 6):
        seen.append(reader.next_frame(6))
    assert seen == [b"chunk 0", b"chunk 1", b"commit 5"]
    assert not has_met(reader, 8)
    assert read(reader, 8) == [b"commit 7"]
    assert has_met(reader, 8)
    assert not has_met(reader, 9), "the copy has not looked at that commit"


def test_who_has_not_read_all_chunks_has_met_nothing() -> None:
    reader = make_reader(make_copy(2))
    met = [has_met(reader)]
    for _ in range(2):
        reader.next_frame(FAR)
        met.append(has_met(reader))
    assert met == [False, False, True]


def test_a_copy_that_is_not_complete_meets_nothing() -> None:
    copy = make_copy(1)
    reader = make_reader(copy)
    read(reader)
    assert has_met(reader)
    copy.is_complete = False
    assert not has_met(reader)


def test_what_a_snapshot_shows_is_a_state_from_until_on() -> None:
    reader = make_reader(make_copy(1, until=100))
    read(reader)
    assert [has_met(reader, position=at) for at in (99, 100, 101)] == [False, True, True]


def test_commits_that_a_snapshot_missed_are_waited_for() -> None:
    copy = make_copy(1)
    reader = make_reader(copy)
    read(reader)
    copy.backlog.append(3)
    assert not has_met(reader)
    copy.backlog.popleft()
    assert has_met(reader)


def test_who_has_read_beyond_the_commit_that_its_session_gets_next_has_not_met_it() -> None:
    """The session stood at the end of the log, and then went on from a cursor."""
    reader = make_reader(make_copy(1, (5, 7)))
    read(reader)
    assert [has_met(reader, number) for number in (5, 7, 8)] == [False, False, True]


# --- a stage ---


def make_stage(**copies: Copy) -> Stage:
    stage = Stage()
    for id, copy in copies.items():
        shape = NOTES_SHAPE if id.startswith("notes") else TASKS_SHAPE
        stage.add(id, stage.readers.get(shape.id) or Reader(shape, copy))
    return stage


def specs(stage: Stage) -> list[tuple[str, Table]]:
    tables = {NOTES_SHAPE.id: NOTES, TASKS_SHAPE.id: TASKS}
    return [(id, tables[shape.id]) for id, shape in stage.subscriptions()]


def test_subscriptions_of_one_shape_share_a_reader() -> None:
    copy = make_copy()
    stage = make_stage(notes=copy, tasks=make_copy(), notes2=copy)
    assert stage.ids == ["notes", "notes2", "tasks"]
    assert specs(stage) == [("notes", NOTES), ("notes2", NOTES), ("tasks", TASKS)]
    assert len(stage.readers) == 2


def test_a_stage_knows_who_reads_a_copy() -> None:
    first, second = make_copy(), make_copy()
    stage = make_stage(notes=first, notes2=first, tasks=second)
    assert (stage.ids_of(first), stage.ids_of(second)) == (["notes", "notes2"], ["tasks"])
    assert stage.ids_of(make_copy()) == []


def test_a_shape_stays_until_its_last_subscription_is_taken_out() -> None:
    copy = make_copy()
    stage = make_stage(notes=copy, notes2=copy, tasks=make_copy())
    assert stage.remove("unknown") is None
    assert stage.remove("notes") == NOTES_SHAPE
    assert stage.ids == ["notes2", "tasks"]
    assert stage.remove("notes2") == NOTES_SHAPE
    assert (stage.ids, list(stage.readers)) == (["tasks"], [TASKS_SHAPE.id])
    assert stage.remove("tasks") == TASKS_SHAPE
    assert stage.readers == {}


def test_a_stage_sends_whatever_is_ready() -> None:
    copy = make_copy(1)
    copy.is_complete = False
    stage = make_stage(notes=copy, tasks=make_copy(2, (5,)))
    assert read(stage) == [b"chunk 0", b"chunk 0", b"chunk 1", b"commit 5"]


def test_a_stage_is_ready_when_all_its_shapes_are() -> None:
    late = make_copy(1)
    late.is_complete = False
    stage = make_stage(notes=late, tasks=make_copy(1, until=50))
    read(stage)
    assert not stage.is_ready(FAR, Lsn(FAR))
    late.is_complete = True
    assert [stage.is_ready(FAR, Lsn(at)) for at in (49, 50)] == [False, True]
