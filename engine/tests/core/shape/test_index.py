"""The index knows which shapes a change touches, and forgets those that nobody has.

Method: acquire and release; walks by chance against a plain list of subscriptions. What is found
for a row is compared with judging every shape.
"""

from __future__ import annotations

import gc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tests.core.shape.conditions import above, among, among_and_above
from engine.tests.core.wal.tables import chance, table
from tidewire.core.model.change import UNCHANGED, Row
from tidewire.core.model.relation import Identity, JsonForm
from tidewire.core.shape.index import ShapeIndex
from tidewire.core.shape.shape import Shape, ShapeColumn, ShapeId, ShapeSpec

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


# --- conditions ---

PLACES = {"id": 0, "tenant": 1}
WHERES = (
    None,
    among("tenant", "1"),
    among("tenant", "2"),
    among("tenant", "1", "2"),
    among("tenant"),
    among("id", "1"),
    above("id", 1),
    above("tenant", 1),
    among_and_above("tenant", ("1", "3"), "id", 1),
)
FILTERED = [msgspec.structs.replace(USERS, where=where) for where in WHERES]
FULL = table(JsonForm.NUMBER, JsonForm.NUMBER, names=("id", "tenant"), identity=Identity.FULL)


def found(index: ShapeIndex, *rows: Row) -> set[ShapeId]:
    return set(index.tables[1].find(rows, PLACES)) if 1 in index.tables else set()


rows = st.tuples(*[st.sampled_from([b"1", b"2", b"3"])] * 2)


@chance
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(FILTERED)), max_size=30),
    st.lists(rows, min_size=1, max_size=2),
)
def test_no_shape_whose_condition_holds_is_missed(
    steps: list[tuple[bool, ShapeSpec]], rows: list[Row]
) -> None:
    index = ShapeIndex()
    held: list[Shape] = []
    for is_acquire, spec in steps:
        owned = [shape for shape in held if shape.spec == spec]
        if is_acquire:
            held.append(index.acquire(spec))
        elif owned:
            held.remove(owned[0])
            index.release(owned[0])
    wheres = {shape.id: shape.spec.where for shape in held}
    wanted = {
        id
        for id, where in wheres.items()
        if where is not None and any(map(where.compile(FULL), rows))
    }
    assert wanted <= found(index, *rows)
    for shape in held:
        index.release(shape)
    assert index.tables == {}


def test_only_shapes_with_the_value_of_the_row_are_found(index: ShapeIndex) -> None:
    ids = [
        index.acquire(msgspec.structs.replace(USERS, where=among("tenant", str(i)))).id
        for i in range(50)
    ]
    other = index.acquire(msgspec.structs.replace(USERS, where=above("id", 5))).id
    index.acquire(USERS)
    assert found(index, (b"1", b"7")) == {ids[7], other}
    assert found(index, (b"1", b"7"), (b"1", b"9")) == {ids[7], ids[9], other}
    assert found(index, (b"1", b"50")) == {other}
    assert found(index, (b"1", None)) == {other}
    assert found(index, (b"1", UNCHANGED)) == {*ids, other}


def test_a_condition_over_a_column_that_is_gone_is_not_looked_for(index: ShapeIndex) -> None:
    index.acquire(FILTERED[1])
    assert set(index.tables[1].find([(b"1",)], {"id": 0})) == set()


def test_what_is_equal_but_for_values_has_one_layout_and_makes_no_new_one() -> None:
    index = ShapeIndex()
    first = index.acquire(FILTERED[1])
    changed = index.tables[1].layouts_changed
    second = index.acquire(FILTERED[2])
    assert index.tables[1].layouts_changed == changed
    assert list(index.tables[1].by_layout.values()) == [index.tables[1].all]
    index.release(first)
    assert index.tables[1].layouts_changed == changed
    index.acquire(USERS)
    index.release(second)
    assert index.tables[1].layouts_changed == changed + 2
    gc.collect()
    assert len(index._layouts) == 1, "a layout goes with its last shape"


def test_a_judge_is_made_once_for_each_version(index: ShapeIndex) -> None:
    shape = index.acquire(FILTERED[1])
    candidate = index.tables[1].all[shape.id]
    judge = candidate.judge(FULL)
    assert judge((b"1", b"1"))
    assert candidate.judge(FULL) is judge
    swapped = msgspec.structs.replace(FULL, columns=FULL.columns[::-1])
    assert candidate.judge(swapped)((b"1", b"2"))
    assert not candidate.judge(FULL)((b"1", b"2"))


def test_some_shapes_can_be_looked_at_alone(index: ShapeIndex) -> None:
    users, tenant, posts = (index.acquire(spec) for spec in (USERS, FILTERED[1], POSTS))
    some = index.select([tenant.id, posts.id, ShapeId("gone")])
    assert {oid: set(shapes.all) for oid, shapes in some.items()} == {1: {tenant.id}, 2: {posts.id}}
    assert set(index.tables[1].all) == {users.id, tenant.id}


def test_shapes_that_came_after_a_generation(index: ShapeIndex) -> None:
    index.acquire(USERS)
    before = index.generation
    narrow, posts = index.acquire(NARROW), index.acquire(POSTS)
    assert index.newer(before, [1, 2, 3]) == [narrow.id, posts.id]
    assert index.newer(before, [1]) == [narrow.id]
    assert index.newer(index.generation, [1, 2]) == []
    index.release(narrow)
    assert index.newer(before, [1]) == []
    assert index.newer(before, [2]) == [posts.id]
