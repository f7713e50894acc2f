"""Positions in the write-ahead log.

One rule: outside `core.wal` an `Lsn` is always the *end* of a commit record (`Commit.end_lsn`),
or a point known to lie at or behind all such ends. It is compared as a number, never as text.
"""

from __future__ import annotations

import re
from typing import NewType

Lsn = NewType("Lsn", int)
Xid = NewType("Xid", int)

LSN_ZERO = Lsn(0)
# Sizes of PostgreSQL's own (xlog_internal.h): a page, and the headers of one and of a segment.
_PAGE_BYTES = 8192
_SHORT_HEADER_BYTES = 24
_LONG_HEADER_BYTES = 40
_TEXT = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def parse_lsn(text: str) -> Lsn:
    """Read the form `X/Y` that PostgreSQL prints.

    Raises ValueError when `text` is not two hexadecimal halves.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a WAL position: {text[:40]!r}, expected two hexadecimal halves, X/Y")
    return Lsn(int(match[1], 16) << 32 | int(match[2], 16))


def format_lsn(lsn: Lsn) -> str:
    """Write the form `X/Y` that PostgreSQL reads."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lower_past_header(lsn: Lsn, segment_bytes: int) -> Lsn:
    """Turn an insert position just behind a page header into the end of what was written.

    `pg_current_wal_insert_lsn()` points behind the header of a page that has nothing else yet. No
    commit ends there, and on an idle server the stream never comes to it.
    """
    if lsn % segment_bytes == _LONG_HEADER_BYTES:
        return Lsn(lsn - _LONG_HEADER_BYTES)
    if lsn % _PAGE_BYTES == _SHORT_HEADER_BYTES:
        return Lsn(lsn - _SHORT_HEADER_BYTES)
    return lsn
