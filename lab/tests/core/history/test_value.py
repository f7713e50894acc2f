"""Goal: a value has one writing. Method: what PostgreSQL prints beside what JSON carries."""

from __future__ import annotations

import pytest

from tidelab.core.history.value import JsonValue, canonical, text_of


@pytest.mark.parametrize(
    ("type", "printed", "native"),
    [
        ("bool", "t", True),
        ("bool", "f", False),
        ("int4", "-7", -7),
        ("int8", "9007199254740993", "9007199254740993"),
        ("float8", "1e+15", 1e15),
        ("float8", "0.1", 0.1),
        ("float8", "3", 3),
        ("float8", "NaN", "NaN"),
        ("numeric", "1.50", "1.50"),
        ("text", "it's", "it's"),
        ("jsonb", '{"a": [1, 2], "b": null}', {"b": None, "a": [1, 2]}),
        ("json", '{"b":1,   "a":"\u2603"}', {"a": "\u2603", "b": 1}),
        ("json", "true", True),
        ("int4", None, None),
    ],
)
def test_both_writings_become_one(type: str, printed: str | None, native: JsonValue) -> None:
    assert canonical(type, printed) == text_of(type, native)


def test_lists_of_other_types_become_documents() -> None:
    assert text_of("unknown", [1, "a"]) == '[1,"a"]'


def test_equal_texts_of_different_types_are_left_alone() -> None:
    assert canonical("text", "1e+15") == "1e+15"
