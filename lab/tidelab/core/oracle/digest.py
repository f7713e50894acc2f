"""A digest of a set of rows that can be kept up to date row by row.

The one rule: the digest of a set is the sum of the digests of its rows, modulo 2^128, so adding and
taking out a row costs the same however large the set is. Rows of a table differ in their keys, and
nobody makes rows in order to deceive the lab: two sets with equal digests are equal, but for one
chance in 2^128.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from tidelab.core.history.truth import Row
from tidelab.limits import DIGESTS_KEPT_MAX

EMPTY = 0
_MODULUS_MASK = (1 << 128) - 1


@lru_cache(maxsize=DIGESTS_KEPT_MAX)  # all clients of a fleet see the same rows
def row_digest(row: Row) -> int:
    """Return the digest of one row; `repr` of texts and None is never ambiguous."""
    text = repr(row).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=16).digest(), "little")


def with_row(digest: int, row: Row) -> int:
    """Return the digest of the set with one more row."""
    return (digest + row_digest(row)) & _MODULUS_MASK


def without_row(digest: int, row: Row) -> int:
    """Return the digest of the set with one row less."""
    return (digest - row_digest(row)) & _MODULUS_MASK


def digest_of(rows: Iterable[Row]) -> int:
    """Return the digest of a whole set: what the other functions must arrive at."""
    return sum(map(row_digest, rows)) & _MODULUS_MASK
