"""The contract of a storage, and the choice of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tidelab.coordinator.storage.memory import MemoryStorage
from tidelab.coordinator.storage.sqlite import SqliteStorage
from tidelab.core.coord.record import Record, Write


class Storage(Protocol):
    """Records by their places; `tests/coordinator/test_storage.py` says what is owed."""

    async def load(self) -> list[Record]:
        """Return all records, in any order; raises StorageError."""
        ...

    async def commit(self, writes: Sequence[Write]) -> None:
        """Keep all of these or none; kept means kept when this returns. Raises StorageError."""
        ...

    async def close(self) -> None:
        """Let go of it; what was kept stays."""
        ...


def open_storage(path: Path | None) -> Storage:
    """Open the file, or memory when there is none; raises StorageError."""
    return MemoryStorage() if path is None else SqliteStorage(path)
