"""A spool of unlinked files: they have no name, so nothing is left behind, not even by kill -9."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tidewire.errors import SpoolError


class FileSpool:
    """Make spool files in one directory (default: the system's temporary one)."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    def create(self) -> UnlinkedFile:
        """Open a new empty file.

        Raises SpoolError when the directory cannot take one.
        """
        try:
            descriptor, name = tempfile.mkstemp(prefix="tidewire-", dir=self._directory)
            Path(name).unlink()
        except OSError as error:
            raise SpoolError(f"the spool cannot open a file: {error}") from error
        return UnlinkedFile(descriptor)


class UnlinkedFile:
    """Bytes that only grow; the file vanishes with the last reference to this object."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = 0

    def append(self, data: bytes) -> int:
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
