"""Records in memory: gone with the process, as tests usually want it."""

from __future__ import annotations

from collections.abc import Sequence

from tidelab.core.coord.record import Forget, Record, Write

_Place = tuple[str, str, str, int]


class MemoryStorage:
    """Keep nothing but what is asked for again within this process."""

    def __init__(self) -> None:
        self._records: dict[str, dict[_Place, Record]] = {}

    async def load(self) -> list[Record]:
        """Return all records."""
        return [record for run in self._records.values() for record in run.values()]

    async def commit(self, writes: Sequence[Write]) -> None:
        """Keep them."""
        for write in writes:
            if isinstance(write, Forget):
                self._records.pop(write.run, None)
            elif write.content is None:
                self._records.get(write.run, {}).pop(write[:4], None)
            else:
                self._records.setdefault(write.run, {})[write[:4]] = write

    async def close(self) -> None:
        """Do nothing: it is memory."""
