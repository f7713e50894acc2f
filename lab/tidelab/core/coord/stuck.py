"""Find meetings that can never be full: too few are left to come, or those who must come wait.

The one rule: nothing is called stuck that somebody could still free. Begin with all and take out
whatever can be filled by those who do not wait, and by those who wait only where it is taken out;
what remains waits for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple


class Need(NamedTuple):
    """What one meeting waits for."""

    lacking: int
    """How many must still come."""
    able: AbstractSet[str]
    """Those known by name who could, whether they wait there already or not."""
    newcomers: int
    """Those not known yet who could, too."""
    waiting: AbstractSet[str]
    """Those who wait there."""


def find_broken(needs: Mapping[str, Need]) -> list[str]:
    """Find meetings to which too few can ever come, whatever anybody does."""
    fillable = _fillable(needs, frozenset())
    return [name for name in needs if name not in fillable]


def find_deadlock(needs: Mapping[str, Need], free: AbstractSet[str]) -> list[str]:
    """Find meetings that wait for each other's agents; `free` never block, though they wait."""
    stuck = dict(needs)
    while stuck:
        blocked = {name for need in stuck.values() for name in need.waiting} - free
        for name, need in needs.items():
            if name not in stuck:
                blocked.difference_update(need.waiting)
        freed = _fillable(stuck, blocked)
        if not freed:
            break
        for name in freed:
            del stuck[name]
    return list(stuck)


def _fillable(needs: Mapping[str, Need], blocked: AbstractSet[str]) -> set[str]:
    """Find meetings that those who are not blocked can fill."""
    found = set[str]()
    unblocked = dict[int, AbstractSet[str]]()
    for name, need in needs.items():
        # Meetings that count agents share one set of them, which may be thousands.
        if id(need.able) not in unblocked:
            unblocked[id(need.able)] = need.able - blocked
        able = unblocked[id(need.able)]
        could = len(able) - sum(agent in able for agent in need.waiting)
        if need.lacking <= could + need.newcomers:
            found.add(name)
    return found
