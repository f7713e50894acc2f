"""Thousands come back at once: tables are looked up for many at a time, and no row is read.

Method: look-ups that the test answers when it likes show who shares which. On a real server some
other connection holds the table in ACCESS EXCLUSIVE mode: who reads a row of it has to wait, so
whoever comes back meanwhile was served from the log alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import psycopg
import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.loop import on_loop
from engine.tests.integration.node import WORDS
from engine.tests.integration.peer import PROTOCOL, Message
from tidewire import Engine
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol.frames import From, ShapeRequest
from tidewire.errors import SyncError
from tidewire.subscriptions import LookUps, Resolved

CLIENTS, MISSED = 40, 30


class Desk:
    """A catalog that answers when it is told to; the position counts its answers."""

    def __init__(self) -> None:
        self.asked: list[ShapeRequest] = []
        self._answers = asyncio.Queue[SyncError | None]()

    async def resolve(self, request: ShapeRequest) -> Resolved:
        """Wait for the next answer."""
        self.asked.append(request)
        number = len(self.asked)
        if error := await self._answers.get():
            raise error
        return WORDS, Lsn(number), False

    def answer(self, error: SyncError | None = None) -> None:
        """Let one look-up be over."""
        self._answers.put_nowait(error)


@contextlib.asynccontextmanager
async def desk() -> AsyncIterator[tuple[Desk, LookUps, asyncio.TaskGroup]]:
    """Open a desk; all that was asked has to be answered by the end."""
    async with asyncio.TaskGroup() as tasks:
        opened = Desk()

        def start(work: Coroutine[None, None, None]) -> None:
            tasks.create_task(work)

        yield opened, LookUps(opened.resolve, start), tasks


def ask(tasks: asyncio.TaskGroup, look_ups: LookUps, **changes: Any) -> asyncio.Task[int | str]:
    """Ask; the task returns which look-up has answered, or the code of its error."""

    async def find() -> int | str:
        request = ShapeRequest(**{"id": "1", "table": "words", **changes})
        try:
            _, position, _ = await look_ups.find(request)
        except SyncError as error:
            return error.code
        return position

    return tasks.create_task(find())


async def all_is_quiet() -> None:
    for _ in range(10):
        await asyncio.sleep(0)  # why: tasks that can go on do; nothing here waits for the world


@on_loop
async def test_who_asks_while_a_table_is_looked_up_shares_the_next_answer() -> None:
    async with desk() as (opened, look_ups, tasks):
        first = ask(tasks, look_ups)
        await all_is_quiet()
        later = [ask(tasks, look_ups, id=str(n), initial=n % 2 == 0) for n in range(100)]
        later.append(ask(tasks, look_ups, start=From(epoch="e", lsn="0/1", tag="")))
        await all_is_quiet()
        assert len(opened.asked) == 1
        opened.answer()
        opened.answer()
        assert await first == 1
        assert {await task for task in later} == {2}
        assert len(opened.asked) == 2
        opened.answer()
        assert await ask(tasks, look_ups) == 3, "an answer is not kept"


@on_loop
async def test_what_is_not_the_same_is_looked_up_by_itself() -> None:
    async with desk() as (opened, look_ups, tasks):
        different: list[dict[str, Any]] = [
            {},
            {"table": "other"},
            {"columns": ["id"]},
            {"where": "id = $1", "params": [1]},
            {"where": "id = $1", "params": [True]},
            {"where": "id = $1", "params": ["1"]},
        ]
        asking = [ask(tasks, look_ups, **each) for each in different]
        await all_is_quiet()
        assert len(opened.asked) == len(different), "they do not wait for one another"
        for _ in different:
            opened.answer()
        assert len({await task for task in asking}) == len(different)


@on_loop
async def test_a_refusal_is_for_all_who_share_it_and_not_for_the_next() -> None:
    async with desk() as (opened, look_ups, tasks):
        asking = [ask(tasks, look_ups) for _ in range(3)]
        await all_is_quiet()
        opened.answer(SyncError("unknown_table", "there is no table"))
        assert {await task for task in asking} == {"unknown_table"}
        opened.answer()
        assert await ask(tasks, look_ups) == 2


@on_loop
async def test_one_of_those_who_share_an_answer_goes_away() -> None:
    async with desk() as (opened, look_ups, tasks):
        gone, stays = ask(tasks, look_ups), ask(tasks, look_ups)
        await all_is_quiet()
        gone.cancel()
        await all_is_quiet()
        opened.answer()
        assert await stays == 1


# --- the real thing ---


@contextlib.asynccontextmanager
async def subscribed(engine: Engine, **start: object) -> AsyncIterator[ClientConnection]:
    """Connect and ask for the table; without `from` from now on."""
    async with websockets.connect(engine.url, subprotocols=[Subprotocol(PROTOCOL)]) as client:
        await client.send(json.dumps({"type": "hello", "client": "c"}))
        shape = {"id": "a", "table": "ticks", "initial": False, **start}
        await client.send(json.dumps({"type": "subscribe", "shapes": [shape]}))
        yield client


async def until_live(client: ClientConnection) -> list[Message]:
    """Read until the client is up to date."""
    found: list[Message] = [json.loads(await client.recv())]
    while found[-1]["type"] != "up_to_date":
        found.append(json.loads(await client.recv()))
    return found


@pytest.mark.postgres
@in_loop
async def test_all_come_back_at_once_while_nobody_can_read_their_table(live: Live) -> None:
    await live.execute("CREATE TABLE ticks (id int8 PRIMARY KEY)")
    async with live.engine() as engine:
        async with subscribed(engine) as client:
            welcome, accepted, *_, told = await until_live(client)
        cursor = {"epoch": welcome["epoch"], "lsn": told["lsn"], "tag": told["tag"]}
        place = {"from": cursor, "fingerprint": accepted["fingerprint"]}
        for number in range(MISSED):
            await live.execute("INSERT INTO ticks VALUES (%s)", number)
        async with (
            await psycopg.AsyncConnection.connect(live.url) as holder,
            contextlib.AsyncExitStack() as stack,
        ):
            await holder.execute("LOCK TABLE ticks IN ACCESS EXCLUSIVE MODE")
            storm = [
                await stack.enter_async_context(subscribed(engine, **place)) for _ in range(CLIENTS)
            ]
            for client in storm:
                found = await until_live(client)
                commits = [each for each in found if each["type"] == "commit"]
                rows = [commit["parts"][0]["changes"] for commit in commits]
                assert rows == [[["i", [str(number)]]] for number in range(MISSED)]
