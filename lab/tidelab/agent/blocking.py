"""An agent for programs without an event loop: `with BlockingAgent(url, ...) as agent`.

A thread of its own runs a loop, and in it the agent of `agent.py`; each call is handed over to that
loop and waited for. The one rule: whoever waits is let go, by an answer or by the end of the agent.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from tidelab.agent.agent import Agent, Entry, Event, Start
from tidelab.core.coord.answer import RunStory
from tidelab.errors import AgentEnded
from tidelab.limits import COORD_LEAD_MS, COORD_LEASE_S, COORD_OPEN_S, COORD_WAIT_S

T = TypeVar("T")


class BlockingAgent:
    """An `Agent` whose calls block.

    Use it as a context manager; its methods may be called from any thread, and those that wait in
    others raise AgentEnded when the block is left. Arguments and errors are those of `Agent`.
    """

    def __init__(
        self,
        url: str,
        *,
        run: str,
        name: str,
        token: str | None = None,
        role: Literal["agent", "observer"] = "agent",
        roster: Sequence[str] | None = None,
        size: int | None = None,
        lease_s: float = COORD_LEASE_S,
        is_concurrent: bool = False,
        open_timeout_s: float = COORD_OPEN_S,
    ) -> None:
        self.url, self.run, self.name, self.roster = url, run, name, roster
        self._agent = Agent(
            url,
            run=run,
            name=name,
            token=token,
            role=role,
            roster=roster,
            size=size,
            lease_s=lease_s,
            is_concurrent=is_concurrent,
            open_timeout_s=open_timeout_s,
        )
        # A daemon: a program that is torn down without leaving the block must end all the same.
        self._thread = threading.Thread(target=self._run, name=f"agent {name}", daemon=True)
        self._opened = threading.Event()
        self._error: Exception | None = None
        self._lock = threading.Lock()
        """Held while work is handed over: none is, once the loop has begun to end."""
        self._serving: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._failure: type[BaseException] | None = None
        self._has_left = False

    def __enter__(self) -> Self:
        """Join the run."""
        if self._has_left:
            raise AgentEnded(f"agent {self.name} was open before: make another")
        self._thread.start()
        try:
            self._opened.wait()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the run; those who wait for this agent are told how it ended."""
        with self._lock:
            self._has_left, self._failure = True, kind
            if self._serving is not None:
                is_open = self._opened.is_set()
                leave = self._leaving.set if is_open else self._serving.cancel
                self._serving.get_loop().call_soon_threadsafe(leave)
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def doing(self, what: str) -> None:
        """Say what is being done, for those who wait for this agent in vain."""
        self._call(lambda: self._agent.doing(what))

    def inspect(self) -> RunStory:
        """Describe the run: who is there, and who waits for whom."""
        return self._call(self._agent.inspect)

    def barrier(
        self,
        name: str,
        *,
        target: int | None = None,
        roster: Sequence[str] | None = None,
        quorum: int | None = None,
        timeout_s: float = COORD_WAIT_S,
        lead_s: float = COORD_LEAD_MS / 1000,
    ) -> Start:
        """Wait for others; return when all are to start."""
        return self._call(
            lambda: self._agent.barrier(
                name,
                target=target,
                roster=roster,
                quorum=quorum,
                timeout_s=timeout_s,
                lead_s=lead_s,
            )
        )

    def meet(
        self,
        name: str,
        *,
        target: int | None = None,
        roster: Sequence[str] | None = None,
        quorum: int | None = None,
        timeout_s: float = COORD_WAIT_S,
        lead_s: float = COORD_LEAD_MS / 1000,
    ) -> Start:
        """Wait for others, and then until the start: all go on at one moment."""
        return self._call(
            lambda: self._agent.meet(
                name,
                target=target,
                roster=roster,
                quorum=quorum,
                timeout_s=timeout_s,
                lead_s=lead_s,
            )
        )

    def cancel(self, barrier: str, reason: str = "") -> None:
        """Send away everybody who waits at a barrier, and tell them why."""
        self._call(lambda: self._agent.cancel(barrier, reason))

    def raise_signal(self, name: str) -> int:
        """Count a signal up; return its number, which nobody else gets."""
        return self._call(lambda: self._agent.raise_signal(name))

    def wait_signal(self, name: str, *, count: int = 1, timeout_s: float = COORD_WAIT_S) -> int:
        """Wait until a signal was raised so often; return how often it was."""
        return self._call(lambda: self._agent.wait_signal(name, count=count, timeout_s=timeout_s))

    def publish(self, topic: str, data: Any) -> int:
        """Append an event to a topic; return its offset."""
        return self._call(lambda: self._agent.publish(topic, data))

    def follow(self, topic: str, *, offset: int | None = 1) -> Iterator[Event]:
        """Yield the events of a topic from an offset on, and then each that follows, in order."""
        return self._each(lambda: self._agent.follow(topic, offset=offset))

    def get(self, key: str) -> Entry:
        """Read a key."""
        return self._call(lambda: self._agent.get(key))

    def put(self, key: str, value: Any, *, if_version: int | None = None) -> int:
        """Write a key, if it has that version; return its new one."""
        return self._call(lambda: self._agent.put(key, value, if_version=if_version))

    def change(self, key: str, function: Callable[[Any], Any]) -> Entry:
        """Write what a function makes of the value; the function runs in another thread."""
        return self._call(lambda: self._agent.change(key, function))

    def delete(self, key: str, *, if_version: int | None = None) -> None:
        """Remove a key, if it has that version."""
        self._call(lambda: self._agent.delete(key, if_version=if_version))

    def watch(self, key: str) -> Iterator[Entry]:
        """Yield a key as it is, and then whenever it changes; of a quick series, the newest."""
        return self._each(lambda: self._agent.watch(key))

    # --- the other thread ---

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass  # it was left before it was open, by an error that is on its way
        except Exception as error:  # noqa: BLE001 - it is raised where the block begins or ends
            self._error = error
        finally:
            self._opened.set()

    async def _serve(self) -> None:
        with self._lock:
            if self._has_left:
                return
            self._serving = asyncio.current_task()
        try:
            await self._agent.__aenter__()
            try:
                self._opened.set()
                await self._leaving.wait()
            finally:
                await self._agent.__aexit__(self._failure, None, None)
        finally:
            # What was handed over until now is a task before this one ends, and `asyncio.run`
            # cancels it: nobody waits for ever.
            with self._lock:
                self._serving = None

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have work done in the loop, and wait for it."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a function that is given to `change` may not ask its own agent")
        with self._lock:
            if self._serving is None or self._has_left:
                raise AgentEnded(
                    f"agent {self.name} was closed"
                    if self._has_left or self._opened.is_set()
                    else "not open: use `with BlockingAgent(...)`"
                )
            future = asyncio.run_coroutine_threadsafe(work(), self._serving.get_loop())
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise AgentEnded(f"agent {self.name} was closed") from None
        except BaseException:
            future.cancel()  # nobody waits for it any more: Ctrl-C
            raise

    def _each(self, open: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        reader = open()

        async def read() -> T:
            return await anext(reader)

        while True:
            try:
                yield self._call(read)
            except StopAsyncIteration:
                return
