"""A program with a store, to be killed: it follows three tables and says what it was sent for that.

Run as `python keeper.py URL FILE [STATEMENTS]`; it says `open` when it is connected, then one JSON
object when all rows are there and in the file, and goes on until it is killed, or kills itself
before so many statements of SQL are done.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from tidewire import Client, Shape, SqliteStore
from tidewire.core.saved import Saved

TABLES = ("checking", "savings", "meta")


class Counting(Client):
    """A client that counts the chunks of copies."""

    chunks = 0

    def _take(self, message: bytes) -> None:
        self.chunks += message.startswith(b'{"type":"snapshot"')
        super()._take(message)


class Dying(SqliteStore):
    """A store whose process is killed between two statements."""

    def __init__(self, path: str, statements: int) -> None:
        super().__init__(path)
        self._left = statements

    def open(self) -> Saved | None:
        saved = super().open()
        assert self._connection is not None
        self._connection.set_trace_callback(self._count)
        return saved

    def _count(self, statement: str) -> None:
        # Rows are many: most deaths would be in the middle of them, where others find them, too.
        self._left -= " rows " not in statement
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


async def keep(url: str, path: str, statements: str = "0") -> None:
    async with Counting(url, store=Dying(path, int(statements))) as client:
        print("open", flush=True)
        followed = await client.subscribe_all(*[Shape(table) for table in TABLES])
        while client.saved_position is None:
            await asyncio.sleep(0.001)  # why: the file is written by a thread that tells nobody
        resets = [each.resets for each in followed]
        print(json.dumps({"chunks": client.chunks, "resets": resets}), flush=True)
        async for _ in client.commits():
            pass


if __name__ == "__main__":
    asyncio.run(keep(*sys.argv[1:]))
