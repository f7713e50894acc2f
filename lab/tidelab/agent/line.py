"""The connection of one agent: it heals by itself, within the lease.

One task reads the socket: it connects, and comes back after every failure. Another one writes.
The one rule: what was asked for is answered or raises; nobody waits for a connection that will not
come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tidelab.agent.address import socket_of, trouble_of
from tidelab.core.coord.answer import Body, Done, Time
from tidelab.core.coord.client import Answered, Came, Client, KeyRead, News
from tidelab.core.coord.clock import Sample
from tidelab.core.coord.command import Beat, Command, Join, Leave, Unwatch, Watch
from tidelab.errors import AgentEnded, AgentError, Denied
from tidelab.limits import (
    COORD_AGAIN_S,
    COORD_CLOSE_S,
    COORD_GOODBYE_S,
    COORD_OPEN_S,
    COORD_OUTBOX_BYTES_MAX,
    COORD_PING_S,
    COORD_PONG_S,
)

_WEATHER = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake)
_TOKEN = re.compile("[!-~]+")
_PAUSE_S = 0.02  # the first one between two attempts; each is twice as long as the one before
B = TypeVar("B", bound=Body)


class Watcher:
    """The newest value of a key that one consumer has not seen yet."""

    def __init__(self) -> None:
        self.newest: KeyRead | None = None
        self.stir = asyncio.Event()


class Line:
    """All connections of one agent, one after the other."""

    def __init__(self, url: str, join: Join, token: str | None, open_timeout_s: float) -> None:
        self.url, self._address = url, socket_of(url)
        self._join, self._headers = join, _headers_of(token)
        self._patience_s = open_timeout_s
        self._client = Client(join, random.SystemRandom().randbytes(8).hex())
        # A clock that cannot be set back while we run.
        self._epoch = time.time() - time.monotonic()
        self._tasks = asyncio.TaskGroup()
        self._own_tasks: list[asyncio.Task[None]] = []
        self._socket: ClientConnection | None = None
        self._has_come, self._stir = asyncio.Event(), asyncio.Event()
        self._answers: dict[int, asyncio.Future[Body | Denied | None]] = {}
        self._watchers: dict[str, set[Watcher]] = {}
        self._error: AgentEnded | None = AgentEnded(
            f"agent {join.agent} is not open: use `async with Agent(...)`"
        )

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        return self._epoch + time.monotonic()

    @property
    def skew(self) -> Sample | None:
        """How far the coordinator's clock is ahead of `now`, in milliseconds."""
        return self._client.skew

    # --- beginning and end ---

    async def open(self) -> None:
        """Become present; raises AgentEnded when that is not possible."""
        if self._own_tasks:
            raise AgentEnded(f"agent {self._join.agent} was open before: make another")
        await self._tasks.__aenter__()
        self._error = None
        self._own_tasks = [self._tasks.create_task(work) for work in (self._run(), self._write())]
        try:
            await self._has_come.wait()
            self._raise_error()
        except BaseException:
            await self.close()
            raise

    async def leave(self, doing: str | None) -> None:
        """Say goodbye, and what was being done, so that nobody waits for this agent."""
        self._end(AgentEnded(f"agent {self._join.agent} was closed"))
        if not self._client.is_present:
            return
        with contextlib.suppress(AgentError, TimeoutError):
            async with asyncio.timeout(COORD_GOODBYE_S):
                if doing is not None:
                    await self._ask(Beat(doing=doing), Time)
                await self._ask(Leave(), Done)

    async def close(self) -> None:
        """Close the connection; whoever waits for an answer gets none."""
        for task in self._own_tasks:
            task.cancel()
        self._end(AgentEnded(f"agent {self._join.agent} was closed"))
        await self._tasks.__aexit__(None, None, None)

    # --- asking ---

    async def ask(self, command: Command, kind: type[B]) -> B:
        """Ask for something and wait for the answer, over as many connections as it takes.

        Raises Denied, and AgentEnded.
        """
        self._raise_error()
        return await self._ask(command, kind)

    async def _ask(self, command: Command, kind: type[B]) -> B:
        id = self._client.ask(command, kind, self.now())
        answer = asyncio.get_running_loop().create_future()
        self._answers[id] = answer
        self._stir.set()
        try:
            result = await answer
        finally:
            del self._answers[id]
            self._client.forget(id, self.now())
            self._stir.set()
        if result is None:
            self._raise_error()
        if isinstance(result, Denied):
            raise result
        assert isinstance(result, kind), "the client reads an answer as what it was asked for"
        return result

    async def watch(self, key: str) -> AsyncIterator[KeyRead]:
        """Yield a key as it is and then whenever it was written; of a quick series, the newest."""
        watcher = Watcher()
        watchers = self._watchers.setdefault(key, set())
        watchers.add(watcher)
        try:
            newest: KeyRead | None = await self.ask(Watch(key=key), KeyRead)
            newest = watcher.newest or newest
            watcher.newest = None
            seen: int | None = -1
            while True:
                if newest is not None and newest.version != seen:
                    seen = newest.version
                    yield newest
                watcher.stir.clear()
                if watcher.newest is None:
                    self._raise_error()
                    await watcher.stir.wait()
                newest, watcher.newest = watcher.newest, None
        finally:
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(key, None)
                self._unwatch(key)

    def _unwatch(self, key: str) -> None:
        """Ask for no more news, without waiting: nobody is left who could."""
        if self._error is None:
            self._client.ask(Unwatch(key=key), Done, self.now())
            self._stir.set()

    # --- tasks ---

    async def _run(self) -> None:
        trouble, is_first, pause_s = "", True, _PAUSE_S
        give_up_at = self.now() + self._patience_s
        while True:
            try:
                async with self._connect(give_up_at - self.now()) as socket:
                    await self._read(socket, give_up_at - self.now())
            except AgentEnded as error:
                self._client.close()  # there is nobody to say goodbye to
                self._end(error)
                return
            except _WEATHER as error:
                # The last attempt may have no time left: what was wrong with others says more.
                if is_first or not isinstance(error, TimeoutError):
                    trouble = trouble_of(error)
            is_first = self._client.is_present  # how that one ended says nothing of the next
            if is_first:
                pause_s, give_up_at = _PAUSE_S, self.now() + self._join.lease_s
            self._client.close()
            if self.now() >= give_up_at:
                self._end(AgentEnded(self._lost(trouble)))
                return
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(pause_s * 2, COORD_AGAIN_S)

    @contextlib.asynccontextmanager
    async def _connect(self, patience_s: float) -> AsyncIterator[ClientConnection]:
        try:
            self._socket = await connect(
                self._address,
                additional_headers=self._headers,
                compression=None,
                max_size=COORD_OUTBOX_BYTES_MAX,  # more than that is never on its way to us
                open_timeout=max(0.1, min(patience_s, COORD_OPEN_S)),
                close_timeout=COORD_CLOSE_S,
                ping_interval=COORD_PING_S,
                ping_timeout=COORD_PONG_S,
                proxy=None,  # a coordinator is near
            )
        except InvalidStatus as error:
            if error.response.status_code >= 500:
                raise
            raise AgentEnded(f"no way in at {self.url}: {trouble_of(error)}") from error
        try:
            yield self._socket
        finally:
            socket, self._socket = self._socket, None
            await socket.close()

    async def _read(self, socket: ClientConnection, patience_s: float) -> None:
        """Read until the connection ends; whoever does not answer to joining is no coordinator."""
        self._client.open(self.now())
        async with asyncio.timeout(patience_s) as patience:
            while True:
                self._stir.set()
                for news in self._client.receive(await socket.recv(decode=False), self.now()):
                    if isinstance(news, Came):
                        patience.reschedule(None)
                    self._take(news)

    def _take(self, news: News) -> None:
        match news:
            case Came():
                self._has_come.set()
            case KeyRead():
                self._change(news)
            case Answered() if news.id in self._answers:
                answer = self._answers[news.id]
                if not answer.done():
                    answer.set_result(news.result)

    async def _write(self) -> None:
        while True:
            self._client.wake(self.now())
            if (socket := self._socket) is not None:
                for frame in self._client.data_to_send():
                    with contextlib.suppress(ConnectionClosed):  # the task that reads deals with it
                        await socket.send(frame, text=True)
            deadline = self._client.next_deadline()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if deadline is None else deadline - self.now()):
                    await self._stir.wait()
            self._stir.clear()

    def _change(self, push: KeyRead) -> None:
        for watcher in self._watchers.get(push.key, ()):
            watcher.newest = push
            watcher.stir.set()

    def _end(self, error: AgentEnded) -> None:
        if self._error is None:
            self._error = error
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(None)
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.stir.set()
        self._has_come.set()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise type(self._error)(str(self._error)) from self._error.__cause__

    def _lost(self, trouble: str) -> str:
        if not self._has_come.is_set():
            return f"no coordinator at {self.url} within {self._patience_s:g} s: {trouble}"
        told = f"the coordinator at {self.url} was away for longer than the lease"
        return f"{told} of {self._join.lease_s:g} s: {trouble}"


def _headers_of(token: str | None) -> dict[str, str]:
    """Say who asks; raises ValueError, which does not show it, when a token cannot be one."""
    if token is None:
        return {}
    if not _TOKEN.fullmatch(token):
        raise ValueError("the token is empty, or has a line end, a blank or what is not ASCII")
    return {"Authorization": f"Bearer {token}"}
