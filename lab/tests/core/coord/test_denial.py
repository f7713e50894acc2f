"""Goal: a refusal is an error of its own kind, and a failed barrier is a story.

Method: faults as the coordinator makes them, and the text that a person reads.
"""

from __future__ import annotations

from tidelab.core.coord.answer import Roll
from tidelab.core.coord.denial import Denial
from tidelab.errors import BarrierBroken, Conflict, Denied, SignalTimeout


def roll(arrived: int, needed: int, **more: object) -> Roll:
    names = tuple(f"a{number}" for number in range(arrived))
    fields = {"missing": (), "dead": (), "doing": {}, **more}
    return Roll("m", 3, needed, arrived, names, needed - arrived, **fields)  # type: ignore[arg-type]


def broken(roll: Roll) -> list[str]:
    here = f"{roll.arrived_count} of {roll.needed} arrived"
    message = f"barrier m, generation 3: a waits; b waits; {here} (...); missing: ..."
    error = Denial("deadlock", message, roll).error()
    assert isinstance(error, BarrierBroken)
    assert error.code == "deadlock"
    return str(error).splitlines()


def test_each_kind_of_refusal_is_an_error_of_its_own() -> None:
    conflict = Denial("conflict", "key k has version 7", version=7).error()
    assert isinstance(conflict, Conflict)
    assert (conflict.code, conflict.version, str(conflict)) == (
        "conflict",
        7,
        "key k has version 7",
    )
    timeout = Denial("timeout", "signal s: timed out").error()
    assert isinstance(timeout, SignalTimeout)
    assert isinstance(timeout, TimeoutError)
    assert (timeout.code, str(timeout)) == ("timeout", "signal s: timed out")
    other = Denial("a new code", "no").error()
    assert (type(other), other.code) == (Denied, "a new code")


def test_a_failed_barrier_is_told_line_by_line() -> None:
    told = broken(
        roll(1, 4, missing=("b",), dead=("c",), doing={"b": "loading", "c": "dead for 2.0 s"})
    )
    assert told == [
        "barrier m, generation 3: a waits; b waits",
        "  arrived: 1 of 4 (a0)",
        "  missing: b (loading)",
        "  gone: c (dead for 2.0 s)",
        "  missing: 1 more, never heard of",
    ]


def test_long_lists_are_cut_and_empty_ones_left_out() -> None:
    assert broken(roll(12, 12))[1] == (
        "  arrived: 12 of 12 (a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 and 2 more)"
    )
    assert broken(roll(0, 1, missing=("b",)))[1:] == ["  arrived: 0 of 1", "  missing: b (?)"]
