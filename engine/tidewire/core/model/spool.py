"""What core asks of a place for bytes that are too many for memory (see `tidewire.spool`)."""

from __future__ import annotations

from typing import Protocol


class SpoolFile(Protocol):
    """Bytes that only grow; they vanish when nobody holds the object any more."""

    def append(self, data: bytes) -> int:
        """Add bytes and return where they start.

        Raises SpoolError when there is no room; what was there before stays readable.
        """
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes, fewer only at the end."""
        ...


class Spool(Protocol):
    """A maker of spool files."""

    def create(self) -> SpoolFile:
        """Open a new empty file.

        Raises SpoolError when that cannot be.
        """
        ...
