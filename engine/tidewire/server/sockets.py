"""Many sockets, one message: what the hot loop of the system does with the kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence


def write_to_all(descriptors: Sequence[int], frames: bytes) -> Mapping[int, int]:
    """Write to sockets that do not block.

    Return which took less than all, by their place in `descriptors`, and how many bytes. One that
    is gone took nothing: its transport finds that out, too.
    """
    write, size = os.write, len(frames)
    short: dict[int, int] = {}
    for place, descriptor in enumerate(descriptors):
        try:
            taken = write(descriptor, frames)
        except OSError:
            taken = 0
        if taken < size:
            short[place] = taken
    return short
