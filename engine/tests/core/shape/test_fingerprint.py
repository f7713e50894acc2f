"""Goal: a fingerprint tells what two definitions would; where it cannot, it says no.

Method: the definitions of test_definition.py, before and after one change. `find_fault` is the
model: what it lets go on may go on, and what it does not must not.
"""

from __future__ import annotations

import msgspec
import pytest

from engine.tests.core.shape.test_definition import (
    ID,
    INT,
    KEYS,
    PARTED,
    STATE,
    TITLE,
    TITLES,
    WAS,
    WHOLE,
    column,
    fault,
    labels,
    now,
    spec,
)
from tidewire.core.model.relation import Identity
from tidewire.core.shape.definition import ColumnDefinition, Definition, Partition
from tidewire.core.shape.fingerprint import fingerprint, is_of
from tidewire.core.shape.layout import Layout
from tidewire.core.shape.shape import ShapeSpec

PACKED = now(file=17000)
DEFAULT = now(columns=column(TITLE, written_by=800))
REWRITTEN = now(file=17000, columns=column(TITLE, written_by=800))
# What came later has a greater number than all that is there.
LATER = 17003
BORN = Partition(LATER, LATER, is_born=True)
ATTACHED = Partition(LATER, LATER, is_born=False, attached_by=9)


def goes_on(shape: ShapeSpec, new: Definition, old: Definition = WAS) -> bool:
    layout = Layout(shape)
    return is_of(fingerprint(layout, old), layout, new)


@pytest.mark.parametrize("shape", [WHOLE, TITLES, KEYS, spec(where="title")])
@pytest.mark.parametrize(
    "new",
    [
        WAS,
        PACKED,
        DEFAULT,
        REWRITTEN,
        now(oid=17001),
        now(publication=16501),
        now(columns=(ID, TITLE, STATE, ColumnDefinition(4, "more", INT, 800))),
        now(columns=(ID, STATE, msgspec.structs.replace(TITLE, number=4))),
        now(columns=column(TITLE, name="heading")),
        now(columns=column(TITLE, type_oid=INT)),
        now(columns=column(STATE, labels=labels("new", "doing", "done", "gone"))),
        now(columns=column(STATE, labels=labels("fresh", "done"))),
        now(columns=column(STATE, labels=labels("done", "new"))),
        now(columns=column(STATE, labels=())),
    ],
)
def test_it_says_what_the_two_definitions_say(shape: ShapeSpec, new: Definition) -> None:
    is_same = new.oid == WAS.oid  # definitions of two tables are never compared
    new, old = now(new, identity=Identity.FULL), now(identity=Identity.FULL)
    assert goes_on(shape, new, old) == (is_same and fault(shape, new, old) is None)


@pytest.mark.parametrize(
    "partitions",
    [
        PARTED.partitions,
        (*PARTED.partitions, BORN),
        (*PARTED.partitions, ATTACHED),
        (*PARTED.partitions, Partition(LATER, 0, is_born=True)),
        (*PARTED.partitions, Partition(LATER, 9, is_born=True)),
        PARTED.partitions[:1],
        (PARTED.partitions[0], Partition(2, 9, is_born=True)),
        (PARTED.partitions[0], Partition(2, 2, is_born=True, attached_by=9)),
    ],
)
def test_it_knows_partitions_from_those_that_came_later(partitions: tuple[Partition, ...]) -> None:
    new = now(PARTED, partitions=partitions)
    assert goes_on(KEYS, new, PARTED) == (fault(KEYS, new, PARTED) is None)


def test_what_is_later_than_the_counter_of_the_database_is_in_doubt() -> None:
    """It begins anew after 4 billion: a new partition may have a lower number than an old one."""
    old = now(PARTED, partitions=(Partition(17007, 17007, is_born=True),))
    new = now(PARTED, partitions=(Partition(17007, 17007, is_born=True), BORN))
    assert fault(KEYS, new, old) is None
    assert not goes_on(KEYS, new, old)


def test_several_changes_that_were_harmless_by_themselves_may_be_in_doubt() -> None:
    assert goes_on(TITLES, PACKED)
    assert goes_on(TITLES, REWRITTEN, PACKED)
    assert not goes_on(TITLES, REWRITTEN)


def test_rows_that_lack_a_column_are_not_those_of_a_shape_that_has_it() -> None:
    narrow = fingerprint(Layout(TITLES), WAS)
    assert is_of(narrow, Layout(TITLES), WAS)
    assert not is_of(narrow, Layout(WHOLE), WAS)


@pytest.mark.parametrize("text", ["", "...", "1.2.3", "x.y.a.b", "1.2.3.4", "é.1.a.b", "1.1.1.1.1"])
def test_what_nobody_has_told_is_of_no_table(text: str) -> None:
    assert not is_of(text, Layout(TITLES), WAS)


def test_it_is_short_however_large_the_table() -> None:
    many = now(PARTED, partitions=tuple(Partition(n, n, is_born=True) for n in range(5_000)))
    assert len(fingerprint(Layout(WHOLE), many)) < 60
