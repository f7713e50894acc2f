"""The coordinator as a process of its own: python -m lab.tests.coordinator.process [FILE] [PORT].

Prints its address when it listens; SIGTERM stops it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from lab.tests.coordinator.descriptors import raise_descriptors
from tidelab.coordinator import Options, serve


async def main(storage: str, port: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = Options(storage=Path(storage) if storage else None, http_port=int(port))
    await serve(options, stop, ready=lambda address: print(address.url, flush=True))


if __name__ == "__main__":
    raise_descriptors()
    asyncio.run(main(*(sys.argv[1:] + ["", "0"][len(sys.argv) - 1 :])))
