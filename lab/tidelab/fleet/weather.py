"""What happens to one connection, drawn from a seed.

The one rule: pure. The number of the frame decides, not the clock, so that the same seed does the
same to the same stream.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Literal

CLIENT_FAULTS = ("cuts", "half-open", "slow", "late-acks", "churn")
Ending = Literal["cut", "half-open"]

_CUT_AFTER = (1, 2, 3, 5, 8, 13, 40, 120, 400)  # early ends meet handshakes and copies


@dataclass(frozen=True, slots=True)
class Sky:
    """The weather of one connection."""

    end_after_frames: int | None = None
    ending: Ending = "cut"
    pause_every_frames: int | None = None
    pause_s: float = 0.0
    ack_late_by_frames: int = 0
    churn_every_frames: int | None = None
    back_after_s: float = 0.0


CLEAR = Sky()


class Weather:
    """Draw a sky for each connection of a client; faults that are not in the list do not come."""

    def __init__(self, random: Random, faults: Collection[str]) -> None:
        self._random = random
        self._faults = frozenset(faults)

    def next_sky(self) -> Sky:
        """Draw the sky of the next connection."""
        random, faults = self._random, self._faults
        endings: list[Ending] = []
        if "cuts" in faults:
            endings.append("cut")
        if "half-open" in faults:
            endings.append("half-open")
        does_end = bool(endings) and random.random() < 0.8
        is_slow = "slow" in faults and random.random() < 0.3
        return Sky(
            end_after_frames=random.choice(_CUT_AFTER) if does_end else None,
            ending=random.choice(endings) if endings else "cut",
            pause_every_frames=random.choice((1, 5, 20)) if is_slow else None,
            pause_s=random.choice((0.02, 0.1, 0.5)),
            ack_late_by_frames=(
                random.choice((1, 5, 20)) if "late-acks" in faults and random.random() < 0.3 else 0
            ),
            churn_every_frames=random.choice((15, 60)) if "churn" in faults else None,
            back_after_s=random.choice((0.0, 0.0, 0.1, 0.5, 2.0)),
        )
