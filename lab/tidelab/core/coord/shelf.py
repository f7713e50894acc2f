"""The barriers that a run remembers, in the order in which they ended last.

The one rule: a new one finds room as long as somebody waits at fewer than there may be. Those that
ended longest ago are forgotten for it, and more of them when many agents were there.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidelab.core.coord.barrier import Barrier
from tidelab.limits import COORD_NAMES_MAX, COORD_PLACES_MAX


class Shelf:
    """All barriers of one run."""

    def __init__(self) -> None:
        self._barriers: dict[str, Barrier] = {}
        self._places: dict[str, int] = {}
        """How many agents each remembers, of those where nobody waits ..."""
        self._places_sum = 0
        """... and all of them."""

    def __len__(self) -> int:
        return len(self._barriers)

    def newest_first(self) -> Iterator[Barrier]:
        """Give them, the one that ended last first."""
        return reversed(self._barriers.values())

    def get(self, name: str) -> Barrier | None:
        """Find a barrier."""
        return self._barriers.get(name)

    def add(self, barrier: Barrier) -> None:
        """Put one where the newest are."""
        self._barriers[barrier.name] = barrier

    def note_end(self, barrier: Barrier) -> None:
        """Put one that has ended behind all others."""
        self._barriers[barrier.name] = self._barriers.pop(barrier.name)
        self.note_places(barrier)

    def note_places(self, barrier: Barrier) -> None:
        """Count again how many agents one remembers."""
        places = barrier.places()
        self._places_sum += places - self._places.get(barrier.name, 0)
        self._places[barrier.name] = places

    def make_room(self) -> list[Barrier] | None:
        """Forget what has to go for one more, and return it; None when nothing can."""
        count, places = len(self._barriers), self._places_sum
        gone = []
        for barrier in self._barriers.values():
            if count < COORD_NAMES_MAX and places <= COORD_PLACES_MAX:
                break
            if barrier.meeting is None:
                gone.append(barrier)
                count, places = count - 1, places - self._places.get(barrier.name, 0)
        if count >= COORD_NAMES_MAX:
            return None
        for barrier in gone:
            del self._barriers[barrier.name]
            self._places_sum -= self._places.pop(barrier.name, 0)
        return gone

    def put_in_order(self) -> None:
        """Bring those that were restored into the order in which they ended."""
        for barrier in sorted(self._barriers.values(), key=Barrier.ended_ms):
            self.note_end(barrier)
