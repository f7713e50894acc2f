"""A spool in memory that can be full: public, and held to the contract of `model/test_spool.py`."""

from __future__ import annotations

from tidewire.errors import SpoolError


class MemorySpool:
    """Make files in memory that together take at most `bytes_max`."""

    def __init__(self, bytes_max: int | None = None) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self.files: list[MemoryFile] = []

    def create(self) -> MemoryFile:
        """Open a new empty file.

        Raises SpoolError when no byte would fit.
        """
        if self.bytes_max == 0:
            raise SpoolError("the spool cannot open a file: it was made without room")
        self.files.append(MemoryFile(self))
        return self.files[-1]

    def take(self, count: int) -> None:
        """Count bytes, or raise SpoolError when they are too many."""
        if self.bytes_max is not None and self.bytes + count > self.bytes_max:
            raise SpoolError(f"the spool cannot take {count} bytes: it is full")
        self.bytes += count


class MemoryFile:
    """Bytes that only grow; `reads` counts how often somebody looked."""

    def __init__(self, spool: MemorySpool) -> None:
        self._spool = spool
        self._data = bytearray()
        self.reads = 0

    def append(self, data: bytes) -> int:
        """Add bytes and return where they start."""
        self._spool.take(len(data))
        start = len(self._data)
        self._data += data
        return start

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes, fewer only at the end."""
        self.reads += 1
        return bytes(self._data[offset : offset + length])
