"""Positions in the write-ahead log, as the lab writes them.

The one rule: a position is the *end* of a commit record, a number, and is written `X/Y` only where
people read it.
"""

from __future__ import annotations

from typing import NewType

from tidelab.errors import HistoryError

Lsn = NewType("Lsn", int)
LSN_ZERO = Lsn(0)

PAGE_HEADER_BYTES = 24  # XLogPageHeaderData
SEGMENT_HEADER_BYTES = 40  # XLogLongPageHeaderData, on the first page of each segment


def format_lsn(lsn: Lsn) -> str:
    """Write a position as PostgreSQL does."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def without_header(lsn: Lsn, *, page_bytes: int, segment_bytes: int) -> Lsn:
    """Lower an insert position that lies just behind the header of an empty page.

    PostgreSQL tells it so, but no record ends there: who waits for it waits until the next write.
    """
    if lsn % segment_bytes == SEGMENT_HEADER_BYTES:
        return Lsn(lsn - SEGMENT_HEADER_BYTES)
    return Lsn(lsn - PAGE_HEADER_BYTES) if lsn % page_bytes == PAGE_HEADER_BYTES else lsn


def parse_lsn(text: str) -> Lsn:
    """Read a position that PostgreSQL wrote.

    Raises HistoryError.
    """
    try:
        high, low = (int(part, 16) for part in text.split("/"))
    except ValueError:
        raise HistoryError(f"{text!r} is no position: X/Y in hexadecimal is one") from None
    return Lsn(high << 32 | low)
