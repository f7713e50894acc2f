"""The system under test as a process of its own: `tidewire serve` on a port of this machine.

The one rule: only what was started here is ended here, and whoever starts it waits until it says
that it is ready. What it says goes to a file of the run, across all its restarts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import IO

from tidelab.errors import EngineError
from tidelab.limits import ENGINE_POLL_S, ENGINE_START_S, ENGINE_STOP_S

HOST = "127.0.0.1"


class EngineProcess:
    """Start, kill and stop one server on the same port again and again."""

    def __init__(self, database_url: str, log: Path, deployment: str = "lab") -> None:
        self.authority = f"{HOST}:{_free_port()}"
        self._database_url = database_url
        self._log_path = log
        self._deployment = deployment
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Tell whether the process that was started still runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self, *, timeout_s: float = ENGINE_START_S) -> None:
        """Start it and return when it is ready.

        Raises EngineError, with the last line that it said.
        """
        assert not self.is_running, "it runs already"
        self._log = self._log or self._log_path.open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tidewire", "serve", "--dev", "--listen", self.authority),
            *("--deployment", self._deployment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # a Ctrl-C is for us, and we end it in our own order
            env={**os.environ, "TIDEWIRE_DATABASE_URL": self._database_url},
        )
        await self.wait_ready(timeout_s=timeout_s)

    async def wait_ready(self, *, timeout_s: float = ENGINE_START_S) -> None:
        """Return when it says that it is ready; raises EngineError."""
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._is_ready():
                    if not self.is_running:
                        raise EngineError(f"the server did not start: {self._last_words()}")
                    await asyncio.sleep(ENGINE_POLL_S)
        except TimeoutError:
            why = f"was not ready within {timeout_s:g} s: {self._last_words()}"
            raise EngineError(f"the server {why}") from None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def end(self, number: signal.Signals, *, timeout_s: float = ENGINE_STOP_S) -> int:
        """Send a signal that ends it, and return its exit code.

        Raises EngineError if it does not end in time; then it was killed.
        """
        if self._process is None:
            return 0
        self.send(number)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._process.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._process.wait()
            raise EngineError(f"the server did not end within {timeout_s:g} s") from None

    async def close(self) -> None:
        """Kill it, if it runs."""
        await self.end(signal.SIGKILL)
        if self._log is not None:
            self._log.close()
            self._log = None

    async def _is_ready(self) -> bool:
        host, _, port = self.authority.partition(":")
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return False
        try:
            writer.write(f"GET /ready HTTP/1.1\r\nHost: {self.authority}\r\n\r\n".encode())
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.transport.abort()

    def _last_words(self) -> str:
        lines = self._log_path.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
