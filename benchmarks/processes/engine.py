"""The whole engine on a database: `engine URL [DEPLOYMENT [SECONDS]]`, asleep when alone so long.

stdout: the port, when it is ready. stdin: any line is answered with "collected" once the garbage
collector has run; it ends when stdin is closed.
"""

from __future__ import annotations

import asyncio
import gc
import sys

from benchmarks.measure import run
from tidewire.config import Config
from tidewire.engine import Engine


async def main() -> None:
    url, deployment, awake_s = [*sys.argv[1:], *("", "default", "60")[len(sys.argv) - 1 :]]
    config = Config(
        database_url=url,
        deployment=deployment,
        dev=True,
        listen="127.0.0.1:0",
        hibernate_after_s=int(awake_s),
    )
    async with Engine(config) as engine:
        gc.collect()
        gc.freeze()  # as `tidewire serve` does
        print(engine.page_url.rstrip("/").rpartition(":")[2], flush=True)
        await until_closed()


async def until_closed() -> None:
    """Collect garbage whenever that is asked for."""
    is_over = asyncio.Event()

    def hear() -> None:
        if not sys.stdin.readline():
            is_over.set()
            return
        gc.collect()
        print("collected", flush=True)

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), hear)
    await is_over.wait()


if __name__ == "__main__":
    run(main)
