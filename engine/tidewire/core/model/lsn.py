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
