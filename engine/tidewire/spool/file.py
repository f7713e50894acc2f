"""A spool of unlinked files: they have no name, so nothing is left behind, not even by kill -9.

What is small can stay in memory: ten thousand small copies would take as many descriptors.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tidewire.core.model.spool import SpoolFile
from tidewire.errors import SpoolError


class FileSpool:
    """Make spool files in one directory (default: the system's temporary one).

    Up to `memory_bytes` of each stay in memory, and no file is opened for it until then.
    """

    def __init__(self, directory: Path | None = None, *, memory_bytes: int = 0) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes

    def create(self) -> SpoolFile:
        """Make a new empty file.

        Raises SpoolError when the directory cannot take one.
        """
        if self._memory_bytes:
            return SmallFile(self._memory_bytes, self._open)
        return self._open()

    def _open(self) -> UnlinkedFile:
        try:
            descriptor, name = tempfile.mkstemp(prefix="tidewire-", dir=self._directory)
            Path(name).unlink()
        except OSError as error:
            raise SpoolError(f"the spool cannot open a file: {error}") from error
        return UnlinkedFile(descriptor)


class SmallFile:
    """Bytes in memory, that move to a file when they are too many."""

    def __init__(self, memory_bytes: int, open: Callable[[], UnlinkedFile]) -> None:
        self._memory_bytes = memory_bytes
        self._open = open
        self._data = bytearray()
        self._file: UnlinkedFile | None = None

    def append(self, data: bytes) -> int:
        """Add bytes and return where they start.

        Raises SpoolError when the disk is full; what was there before stays readable.
        """
        start = len(self._data)
        if self._file is None and start + len(data) > self._memory_bytes:
            file = self._open()
            file.append(self._data)
            self._file, self._data = file, bytearray()
        if self._file is not None:
            return self._file.append(data)
        self._data += data
        return start

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes, fewer only at the end."""
        if self._file is not None:
            return self._file.read(offset, length)
        return bytes(self._data[offset : offset + length])


class UnlinkedFile:
    """Bytes that only grow; the file vanishes with the last reference to this object."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = 0

    def append(self, data: bytes | bytearray) -> int:
        """Add bytes and return where they start.

        Raises SpoolError when the disk is full; what was there before stays readable.
        """
        start = self._size
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._descriptor, view, self._size)
                self._size += written
                view = view[written:]
        except OSError as error:
            self._size = start
            raise SpoolError(f"the spool cannot take {len(data)} bytes: {error}") from error
        return start

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes, fewer only at the end."""
        wanted = min(length, self._size - offset)
        pieces = []
        while wanted > 0:
            piece = os.pread(self._descriptor, wanted, offset)
            if not piece:
                raise SpoolError("the spool lost bytes: its file is shorter than what was written")
            pieces.append(piece)
            offset, wanted = offset + len(piece), wanted - len(piece)
        return b"".join(pieces)

    def __del__(self) -> None:
        os.close(self._descriptor)
