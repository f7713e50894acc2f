"""Sizes and times as people say them."""

from __future__ import annotations

_SIZES = (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10))
_TIMES = (("days", 86_400), ("hours", 3_600), ("minutes", 60))


def size_of(size_bytes: float) -> str:
    """Say a number of bytes, with the units of PostgreSQL's settings."""
    for unit, size in _SIZES:
        if size_bytes >= size:
            return f"{size_bytes / size:.3g} {unit}"
    return f"{size_bytes:.0f} bytes"


def setting_of(size_bytes: int) -> str:
    """Write a size as a setting of PostgreSQL, in whole gigabytes that are enough."""
    return f"'{-(-size_bytes // (1 << 30))}GB'"


def time_of(time_s: float) -> str:
    """Say how long something takes."""
    for unit, size in _TIMES:
        if time_s >= 2 * size:
            return f"{time_s / size:.0f} {unit}"
    return f"{time_s:.0f} s"
