"""What the plugin for pytest (`tidelab_pytest`) is made of.

::

    controller   doorbell <--where?-- worker        the first who rings has the coordinator started
                 coordinator <------- agent gw0     in a thread, which ends with the session

The one rule: a session in which no test asks for it has one idle thread more, and imports nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from tidelab.errors import AgentEnded, LabError
from tidelab.limits import COORD_DOORBELL_S, COORD_WORKER_LEASE_S

if TYPE_CHECKING:
    from tidelab.agent import BlockingAgent

_HOST = "127.0.0.1"


class MeetingPlace:
    """The coordinator of one test session, started when somebody asks where it is."""

    def __init__(self) -> None:
        self._url: Future[str] = Future()
        self._lock = threading.Lock()
        self._serving: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._bell: socket.socket | None = None
        self._answering: threading.Thread | None = None
        self._is_closed = False

    def url(self) -> str:
        """Return where to meet; the first call starts the coordinator."""
        with self._lock:
            if self._serving is None:
                serving = threading.Thread(target=self._serve, name="coordinator", daemon=True)
                serving.start()
                self._serving = serving
        return self._url.result(COORD_DOORBELL_S)

    def doorbell(self) -> int:
        """Return the port at which other processes of this machine are told the URL."""
        if self._bell is None:
            self._bell = socket.create_server((_HOST, 0))
            self._answering = threading.Thread(target=self._answer, name="doorbell", daemon=True)
            self._answering.start()
        return int(self._bell.getsockname()[1])

    def close(self) -> None:
        """End the coordinator, if there is one."""
        self._is_closed = True
        if self._bell is not None and self._answering is not None:
            with contextlib.suppress(OSError):
                socket.create_connection(self._bell.getsockname()).close()  # wakes `accept`
            self._answering.join()
            self._bell.close()
        with self._lock:  # whoever is just starting it is done then
            serving = self._serving
        if serving is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._stop.set)
            serving.join()

    def _serve(self) -> None:
        try:
            asyncio.run(self._meet())
        except BaseException as error:
            if self._url.done():
                raise
            self._url.set_exception(error)

    async def _meet(self) -> None:
        from tidelab.coordinator import Options, serve

        self._loop = asyncio.get_running_loop()
        if self._is_closed:
            raise AgentEnded("the session is over")  # before there was a loop to be told
        options = Options(host=_HOST, http_port=0)
        await serve(options, self._stop, ready=lambda address: self._url.set_result(address.url))

    def _answer(self) -> None:
        assert self._bell is not None, "it is answered where it hangs"
        while True:
            guest, _ = self._bell.accept()
            with guest, contextlib.suppress(OSError):  # a guest may have gone already
                if self._is_closed:
                    return
                guest.sendall(self._directions().encode())

    def _directions(self) -> str:
        try:
            return self.url()
        except (LabError, TimeoutError) as error:
            return f"it could not be started: {error!r}"


def ring(doorbell: int) -> str:
    """Ask another process of this machine where to meet.

    Raises AgentEnded when nobody answers.
    """
    try:
        with socket.create_connection((_HOST, doorbell), COORD_DOORBELL_S) as bell:
            told = bell.makefile().read()
    except OSError as error:
        told = "the controller of this test session does not say where to meet"
        raise AgentEnded(f"{told}: {error}; workers must be on the same machine") from error
    if not told.startswith("http"):
        raise AgentEnded(f"this test session has no coordinator: {told or 'it is over'}")
    return told


@contextlib.contextmanager
def worker_agent(url: str, run: str, name: str, workers: list[str]) -> Iterator[BlockingAgent]:
    """Make the agent of one worker; barriers that name nobody are for all workers."""
    from tidelab.agent import BlockingAgent

    lease_s = COORD_WORKER_LEASE_S
    with BlockingAgent(url, run=run, name=name, roster=workers, lease_s=lease_s) as agent:
        yield agent
