"""What a server is given so that faults of minutes happen to it in seconds.

The one rule: the behaviour stays its own, only bounds are smaller. They are replaced where it has
to be asked for by a fault; all other runs judge the server as it is delivered.
"""

from __future__ import annotations

from collections.abc import Collection

from tidelab.chaos.lull import LULL_FAULTS
from tidelab.chaos.neighbour import NEIGHBOUR_FAULTS
from tidelab.limits import WAL_BYTES

_HURRIED = frozenset({*LULL_FAULTS, *NEIGHBOUR_FAULTS})
SETTINGS = {"wal_bytes_max": WAL_BYTES, "hibernate_after_s": 1}
BOUNDS = {
    "GUARD_S": 0.2,
    "GUARD_ASLEEP_S": 0.2,
    "GUARD_ASLEEP_LONGEST_S": 0.5,
    "COPY_KEEP_S": 1.0,
}


def settings_for(faults: Collection[str]) -> dict[str, int]:
    """Return the settings of a server that these faults happen to."""
    return SETTINGS if _HURRIED.intersection(faults) else {}


def bounds_for(faults: Collection[str]) -> dict[str, float]:
    """Return what replaces bounds of its own."""
    return BOUNDS if _HURRIED.intersection(faults) else {}
