"""Goal: a subscription's life is collected and compared. Method: a span fed by hand.

How events become spans is the business of `test_trace.py`.
"""

from __future__ import annotations

from lab.tests.core.scene import ALL, BEGIN, FIRST, NOTES, TAGS, inserted, values
from tidelab.core.check.span import Claim, Delivery, Difference, Span, differ, keys_of, untold
from tidelab.core.history.event import (
    Clear,
    Connected,
    Copied,
    Patch,
    Put,
    Rekey,
    Remove,
    RowChange,
)
from tidelab.core.history.history import Record
from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Baseline, Committed, TableRows
from tidelab.core.oracle.oracle import Oracle
from tidelab.limits import DIFFERENCES_MAX


def oracle() -> Oracle:
    made = Oracle(Baseline(BEGIN, (TableRows(NOTES, (FIRST,)), TableRows(TAGS, ()))))
    made.receive(Committed(Lsn(110), 1, (inserted("2", "red", "1"),)))
    return made


def record(seq: int) -> Record:
    return Record(seq, 0.0, "c", Connected())


def claim(lsn: int) -> Claim:
    return Claim(record(9), Lsn(lsn), is_spoken=True)


def span(truth: Oracle, *, has_rows: bool = True) -> Span:
    return Span("c", "s", truth.view(ALL), record(0), has_rows=has_rows)


def delivery(lsn: int, *changes: Put | Remove, staged: bool = False) -> Delivery:
    return Delivery(record(lsn), Lsn(lsn), changes, is_staged=staged)


def test_copied_rows_and_staged_commits_are_shown_together() -> None:
    truth = oracle()
    notes = span(truth)
    notes.copy(record(1), Copied("s", (values(*FIRST),), begins=True))
    notes.stage(delivery(110, Put(values("2", "red", "1")), staged=True))
    assert notes.live_since is None
    notes.show(joined := claim(110))
    notes.claim(joined, truth)
    assert (notes.compared, notes.mismatches) == (1, [])
    assert [each.lsn for each in notes.all_deliveries()] == [110]


def test_a_copy_that_begins_anew_drops_what_was_there() -> None:
    notes = span(oracle())
    for _ in range(2):
        notes.copy(record(1), Copied("s", (values(*FIRST),), begins=True))
        notes.copy(record(2), Copied("s", (values(*FIRST),)))
        assert notes.doubled == [(record(2), ("1",))]
        notes.stage(delivery(110, staged=True))
        assert (len(notes.copied), len(notes.staged)) == (2, 1)


def test_a_mismatch_tells_how_and_since_when() -> None:
    truth = oracle()
    notes = span(truth)
    notes.copy(record(1), Copied("s", (values(*FIRST),), begins=True))
    notes.show(joined := claim(100))
    notes.claim(joined, truth)
    notes.deliver(delivery(110, Put(values("2", "red", "7")), Put(values("3", "x", "1"))))
    notes.deliver(delivery(110, Remove(("1",))))
    for _ in range(DIFFERENCES_MAX + 1):
        notes.claim(claim(110), truth)
    assert len(notes.mismatches) == DIFFERENCES_MAX
    first = notes.mismatches[0]
    assert first.right_at is joined
    assert not first.is_join
    assert first.difference.missing == {("1",): FIRST}
    assert first.difference.extra == {("3",): ("3", "x", "1")}
    assert first.difference.changed == {("2",): (("2", "red", "7"), ("2", "red", "1"))}


def test_what_cannot_be_compared_is_counted() -> None:
    truth = oracle()
    notes = span(truth)
    notes.show(claim(100))
    notes.claim(claim(500), truth)
    assert (notes.unjudged, notes.compared) == (1, 0)
    tail = span(truth, has_rows=False)
    tail.show(claim(100))
    tail.claim(claim(110), truth)
    assert (tail.unjudged, tail.compared) == (0, 0)


def test_a_cut_takes_staged_commits_but_not_live_ones() -> None:
    truth = oracle()
    notes = span(truth)
    notes.stage(delivery(110, staged=True))
    notes.detach()
    assert (notes.staged, notes.is_attached) == ([], False)
    notes.stage(delivery(110, staged=True))
    notes.show(claim(110))
    notes.detach()
    assert len(notes.staged) == 1


def test_sets_of_rows_are_compared_by_key() -> None:
    difference = differ({("1",): ("1", "a")}, {("1",): ("1", "a")})
    assert difference == Difference({}, {}, {})


def test_changes_name_their_keys() -> None:
    view = oracle().view(ALL)
    changes: list[RowChange] = [
        Put(values("1", "a", "1")),
        Patch(("2",), {}),
        Remove(("3",)),
        Rekey(("4",), ("5",), {}),
    ]
    assert keys_of(changes, view) == ({("1",), ("2",), ("3",), ("4",), ("5",)}, False)
    assert keys_of([Clear()], view) == (set(), True)


def test_what_a_commit_changed_and_nobody_told_is_found() -> None:
    truth = oracle()
    view = truth.view(ALL)
    assert untold([], view, Lsn(110)) == {("2",)}
    assert untold([Clear()], view, Lsn(110)) == {("2",)}
    assert untold([Patch(("2",), {})], view, Lsn(110)) == set()
