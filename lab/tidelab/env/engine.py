"""The system under test as a process of its own: `tidewire serve` on a port of this machine.

The one rule: only what was started here is ended here, and whoever starts it waits until it says
that it is ready. What it says goes to a file of the run, across all its restarts.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import msgspec

from tidelab.errors import EngineError
from tidelab.limits import ENGINE_POLL_S, ENGINE_START_S, ENGINE_STOP_S

HOST = "127.0.0.1"


class EngineProcess:
    """Start, kill and stop one server on the same port again and again."""

    def __init__(
        self,
        database_url: str,
        log: Path,
        deployment: str = "lab",
        *,
        settings: Mapping[str, int] = {},
        bounds: Mapping[str, float] = {},
        start_s: float = ENGINE_START_S,
    ) -> None:
        """Prepare one; `bounds` replace limits of its own, so that minutes fit into seconds.

        `start_s` is its time to be ready: it may have much of the log to read.
        """
        self.authority = f"{HOST}:{_free_port()}"
        self._environment = {
            "TIDEWIRE_DATABASE_URL": database_url,
            **{f"TIDEWIRE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._program = _program(bounds)
        self._log_path = log
        self._deployment = deployment
        self._start_s = start_s
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Tell whether the process that was started still runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and return when it is ready.

        Raises EngineError, with the last line that it said.
        """
        assert not self.is_running, "it runs already"
        self._log = self._log or self._log_path.open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._program, "serve", "--dev", "--listen", self.authority),
            *("--deployment", self._deployment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # a Ctrl-C is for us, and we end it in our own order
            env={**os.environ, **self._environment},
        )
        await self.wait_ready()

    async def wait_ready(self) -> None:
        """Return when it says that it is ready; raises EngineError."""
        try:
            async with asyncio.timeout(self._start_s):
                while not await self._is_ready():
                    if not self.is_running:
                        raise EngineError(f"the server did not start: {self._last_words()}")
                    await asyncio.sleep(ENGINE_POLL_S)
        except TimeoutError:
            why = f"was not ready within {self._start_s:g} s: {self._last_words()}"
            raise EngineError(f"the server {why}") from None

    async def wait_status(
        self, name: str, is_right: Callable[[object], bool], *, timeout_s: float = ENGINE_START_S
    ) -> object:
        """Return one value of its status as soon as it is right; raises EngineError."""
        value: object = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    value = (await self._status()).get(name)
                    if is_right(value):
                        return value
                    await asyncio.sleep(ENGINE_POLL_S)
        except TimeoutError:
            why = f"{name} of the server is {value!r} for {timeout_s:g} s: {self._last_words()}"
            raise EngineError(why) from None

    def limit_files(self, bytes_max: int | None) -> None:
        """Let no file of it grow beyond so many bytes, as on a full disk; None lifts that."""
        if self._process is None or not self.is_running:
            return  # what has ended writes nothing
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        soft = hard if bytes_max is None else bytes_max
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (soft, hard))

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
        return b" 200 " in (await self._get("/ready")).partition(b"\r\n")[0]

    async def _status(self) -> dict[str, object]:
        """Return what it says of itself; nothing while it is away."""
        _, _, body = (await self._get("/v1/status")).partition(b"\r\n\r\n")
        return msgspec.json.decode(body or b"{}", type=dict[str, object])

    async def _get(self, path: str) -> bytes:
        """Return a whole answer, or nothing if nobody answers."""
        host, _, port = self.authority.partition(":")
        head = f"GET {path} HTTP/1.1\r\nHost: {self.authority}\r\nConnection: close\r\n\r\n"
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return b""
        try:
            writer.write(head.encode())
            return await reader.read(-1)
        except OSError:
            return b""
        finally:
            writer.transport.abort()

    def _last_words(self) -> str:
        lines = self._log_path.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def _program(bounds: Mapping[str, float]) -> tuple[str, str]:
    """Write what Python has to run: the server as it is, or with bounds of its own replaced."""
    if not bounds:
        return "-m", "tidewire"
    changes = [f"limits.{name} = {value!r}" for name, value in bounds.items()]
    lines = ["from tidewire import limits", *changes, "from tidewire.cli import main", "main()"]
    return "-c", "\n".join(lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
