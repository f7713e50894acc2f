"""The index knows which shapes a change touches, and forgets those that nobody has.

Method: acquire and release; one walk by chance against a plain list of subscriptions.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.wal.tables import chance
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import Shape, ShapeColumn, ShapeSpec

USERS = ShapeSpec(1, "public", "users", (ShapeColumn("id", "int4"),), ("id",))
NARROW = msgspec.structs.replace(USERS, columns=())
POSTS = msgspec.structs.replace(USERS, relation_oid=2, table="posts")
SPECS = (USERS, NARROW, POSTS)


@pytest.fixture
def index() -> ShapeIndex:
    return ShapeIndex()


def test_equal_specs_share_one_shape(index: ShapeIndex) -> None:
    assert index.acquire(USERS) is index.acquire(msgspec.structs.replace(USERS))
    assert len(index) == 1


def test_different_specs_have_different_names(index: ShapeIndex) -> None:
    assert len({index.acquire(spec).id for spec in SPECS}) == len(index) == 3


def test_a_change_touches_the_shapes_of_its_table_only(index: ShapeIndex) -> None:
    users, narrow, posts = (index.acquire(spec) for spec in SPECS)
    assert list(index.touched_by(1)) == [users, narrow]
    assert list(index.touched_by(2)) == [posts]
    assert list(index.touched_by(3)) == []


def test_a_shape_lives_until_its_last_subscriber_gives_it_back(index: ShapeIndex) -> None:
    shape = index.acquire(USERS)
    index.acquire(USERS)
    index.release(shape)
    assert list(index.touched_by(1)) == [shape]
    index.release(shape)
    assert list(index.touched_by(1)) == []
    assert len(index) == 0


def test_other_shapes_of_the_table_outlive_one_that_goes(index: ShapeIndex) -> None:
    users, narrow = index.acquire(USERS), index.acquire(NARROW)
    index.release(users)
    assert list(index.touched_by(1)) == [narrow]


def test_a_name_is_never_given_twice(index: ShapeIndex) -> None:
    first = index.acquire(USERS)
    index.release(first)
    assert index.acquire(USERS).id != first.id


def test_the_generation_grows_when_a_shape_comes_or_goes_and_not_otherwise(
    index: ShapeIndex,
) -> None:
    seen = [index.generation]
    shape = index.acquire(USERS)
    seen.append(index.generation)
    index.acquire(USERS)
    index.release(shape)
    assert index.generation == seen[-1]
    index.release(shape)
    seen.append(index.generation)
    assert seen == sorted(set(seen))


@chance
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(SPECS)), max_size=30))
def test_it_agrees_with_a_list_of_subscriptions(steps: list[tuple[bool, ShapeSpec]]) -> None:
    index = ShapeIndex()
    held: list[Shape] = []
    for is_acquire, spec in steps:
        owned = [shape for shape in held if shape.spec == spec]
        if is_acquire:
            held.append(index.acquire(spec))
        elif owned:
            held.remove(owned[0])
            index.release(owned[0])
        for oid in (1, 2):
            expected = {shape for shape in held if shape.spec.relation_oid == oid}
            assert set(index.touched_by(oid)) == expected
        assert len(index) == len(set(held))
