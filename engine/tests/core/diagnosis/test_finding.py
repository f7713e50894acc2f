"""Goal: a finding always says what to do, and its remedy can be pasted, whatever it names."""

from __future__ import annotations

import pytest

from tidewire.core.diagnosis.finding import (
    Finding,
    Level,
    literal,
    note,
    ok,
    problem,
    warning,
)


def test_a_sentence_holds_the_remedy() -> None:
    found = problem("wal_level", "it is low", "A;", "-- b", subject="x")
    assert found.sentence == "it is low: A; b"
    assert ok("wal_level", "it is high").sentence == "it is high"


def test_levels_are_those_of_their_makers() -> None:
    assert ok("slot", "x").level is Level.OK
    assert warning("slot", "x", "y").level is Level.WARNING
    assert problem("slot", "x", "y").level is Level.PROBLEM


def test_a_fault_without_a_remedy_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="what to do"):
        warning("slot", "x")


def test_a_matter_that_is_not_listed_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="nix"):
        Finding("nix", Level.OK, "x")


def test_a_name_cannot_leave_its_comment_or_its_text() -> None:
    assert note("drop a\nDROP TABLE b\u2028\x1b[2J") == "-- drop a?DROP TABLE b??[2J"
    assert literal("o'clock") == "'o''clock'"
