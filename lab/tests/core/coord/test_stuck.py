"""Goal: what can never be full is found, and nothing else.

Method: small cases by hand; random ones against playing out in which order agents could go on.
"""

from __future__ import annotations

from random import Random

from tidelab.core.coord.stuck import Need, find_broken, find_deadlock


def need(lacking: int, able: str, waiting: str, newcomers: int = 0) -> Need:
    return Need(lacking, frozenset(able), newcomers, frozenset(waiting))


def test_a_meeting_that_the_living_cannot_fill_is_broken() -> None:
    needs = {"x": need(2, "a", "c"), "y": need(2, "a", "d", 1), "z": need(1, "c", "d")}
    assert find_broken(needs) == ["x"]


def test_two_who_wait_for_each_other_are_a_deadlock() -> None:
    needs = {"x": need(1, "b", "a"), "y": need(1, "a", "b")}
    assert find_deadlock(needs, frozenset()) == ["x", "y"]


def test_somebody_free_is_no_deadlock() -> None:
    needs = {"x": need(1, "b", "a"), "y": need(1, "a", "b")}
    assert find_deadlock(needs, frozenset("a")) == []
    needs["y"] = need(1, "ac", "b")
    assert find_deadlock(needs, frozenset()) == []


def test_who_waits_where_it_will_be_freed_will_come() -> None:
    needs = {"x": need(1, "b", "a"), "y": need(1, "a", "b"), "z": need(1, "c", "b")}
    assert find_deadlock(needs, frozenset()) == []


def test_a_circle_of_three_leaves_others_alone() -> None:
    needs = {
        "x": need(1, "b", "a"), "y": need(1, "c", "b"), "z": need(1, "a", "c"),
        "w": need(1, "e", "d"),
    }  # fmt: skip
    assert find_deadlock(needs, frozenset()) == ["x", "y", "z"]


def test_random_needs_agree_with_playing_them_out() -> None:
    found = 0
    for seed in range(2_000):
        random = Random(seed)
        names = "abcdef"
        needs = {}
        for meeting in "xyzw"[: random.randint(1, 4)]:
            waiting = {name for name in names if random.random() < 0.4}
            able = {name for name in names if name not in waiting and random.random() < 0.5}
            needs[meeting] = Need(random.randint(1, 3), able, random.randint(0, 1), waiting)
        free = {name for name in names if random.random() < 0.1}
        stuck = find_deadlock(needs, free)
        assert sorted(stuck) == sorted(played_out(needs, free)), f"seed {seed}"
        found += bool(stuck)
    assert 200 < found < 1_800, "both answers must be met"


def played_out(needs: dict[str, Need], free: set[str]) -> list[str]:
    """Fill one meeting after the other; whoever was in it goes on and may fill others."""
    left = dict(needs)
    moved = True
    while moved:
        moved = False
        for meeting, each in list(left.items()):
            outside = [m for m in needs if m not in left]
            here = 0
            for name in each.able:
                waits = [m for m, other in needs.items() if name in other.waiting]
                here += not waits or name in free or any(m in outside for m in waits)
            if here + each.newcomers >= each.lacking:
                del left[meeting]
                moved = True
    return list(left)
