"""Find meetings that can never be full: too few are left to come, or those who must come wait.

The one rule: nothing is called stuck that somebody could still free. Begin with all and take out
whatever can be filled by those who do not wait, and by those who wait only where it is taken out;
what remains waits for itself.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import NamedTuple


class Need(NamedTuple):
    """What one meeting waits for."""

    lacking: int
    """How many must still come."""
    able: AbstractSet[str]
    """Those known by name who could."""
    newcomers: int
    """Those not known yet who could, too."""
    waiting: Collection[str]
    """Those who wait there."""


def find_broken(needs: dict[str, Need]) -> list[str]:
    """Find meetings to which too few can ever come, whatever anybody does."""
    return [name for name, need in needs.items() if not _can_fill(need, frozenset())]


def find_deadlock(needs: dict[str, Need], free: AbstractSet[str]) -> list[str]:
    """Find meetings that wait for each other's agents; `free` never block, though they wait."""
    stuck = dict(needs)
    while stuck:
        blocked = {name for need in stuck.values() for name in need.waiting} - free
        for name, need in needs.items():
            if name not in stuck:
                blocked.difference_update(need.waiting)
        freed = [name for name, need in stuck.items() if _can_fill(need, blocked)]
        if not freed:
            break
        for name in freed:
            del stuck[name]
    return list(stuck)


def _can_fill(need: Need, blocked: AbstractSet[str]) -> bool:
    return need.lacking <= len(need.able - blocked) + need.newcomers
