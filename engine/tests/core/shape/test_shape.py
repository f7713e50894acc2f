"""Equal questions make equal shapes, whoever asks.

Method: specs that differ in one fact.
"""

from __future__ import annotations

import msgspec
import pytest

from tidewire.core.shape.shape import Shape, ShapeColumn, ShapeId, ShapeSpec

SPEC = ShapeSpec(1, "public", "users", (ShapeColumn("id", "int4"),), ("id",))


def test_a_spec_made_again_is_equal_and_finds_the_same_entry() -> None:
    again = ShapeSpec(1, "public", "users", (ShapeColumn("id", "int4"),), ("id",))
    assert again == SPEC
    assert {SPEC: "found"}[again] == "found"


@pytest.mark.parametrize("value", [SPEC, SPEC.columns[0], Shape(ShapeId("s1"), SPEC)])
def test_nobody_alters_what_others_hold(value: msgspec.Struct) -> None:
    for field in value.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(value, field, None)


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(SPEC, relation_oid=2),
        msgspec.structs.replace(SPEC, schema="other"),
        msgspec.structs.replace(SPEC, table="other"),
        msgspec.structs.replace(SPEC, columns=(ShapeColumn("id", "int8"),)),
        msgspec.structs.replace(SPEC, columns=()),
        msgspec.structs.replace(SPEC, key=()),
    ],
)
def test_every_fact_of_a_spec_makes_another(other: ShapeSpec) -> None:
    assert other != SPEC
    assert Shape(ShapeId("s1"), other) != Shape(ShapeId("s1"), SPEC)
