"""A server that says what the test tells it to: for everything that a real one does rarely.

Method: the library `websockets` serves; each connection of a client becomes a `Scene`, in which the
test reads what the client says and answers word by word.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from engine.tests.integration.loop import until
from tidewire import Client, Subscription

COLUMNS = [["id", "int4"], ["body", "text"]]
Message = dict[str, Any]
Failure = TypeVar("Failure", bound=Exception)


class Scene:
    """One connection of a client."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def hear(self) -> Message:
        """Read the next message that is no acknowledgement."""
        while (message := json.loads(await self.socket.recv()))["type"] == "ack":
            pass
        heard: Message = message
        return heard

    async def asked(self) -> list[Message]:
        """Read a subscribe message; return what it asks for."""
        message = await self.hear()
        assert message["type"] == "subscribe", message
        shapes: list[Message] = message["shapes"]
        return shapes

    async def say(self, **message: Any) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.socket.send(json.dumps(message))

    async def welcome(self, epoch: str = "e1", lsn: str = "0/1") -> None:
        hello = await self.hear()
        assert hello["type"] == "hello"
        facts = {"session": "s", "epoch": epoch, "lsn": lsn, "heartbeat_s": 25, "limits": {}}
        await self.say(type="welcome", **facts)

    async def accept(self, id: str, mode: str = "initial", shape: str = "s1", **more: Any) -> None:
        facts = {"table": "public.t", "key": ["id"], "columns": COLUMNS} | more
        await self.say(type="subscribed", id=id, shape=shape, mode=mode, **facts)

    async def chunk(self, number: int, *rows: list[Any], **more: Any) -> None:
        facts = {"shape": "s1", "copy": "c1", "last": False} | more
        await self.say(type="snapshot", chunk=number, rows=rows, **facts)

    async def commit(self, lsn: str, *changes: list[Any], **more: Any) -> None:
        parts = more.pop("parts", [{"shape": "s1", "changes": changes}])
        facts = {"at": 5, "xid": 6, "tag": f"tag-{lsn}"} | more
        await self.say(type="commit", lsn=lsn, parts=parts, **facts)

    async def up_to(self, lsn: str, *live: str) -> None:
        await self.say(type="up_to_date", lsn=lsn, tag=f"tag-{lsn}", live=live)

    async def serve_rows(self, *rows: list[Any], lsn: str = "0/5") -> list[Message]:
        """Answer everything that is asked for with these rows, whole and live."""
        await self.welcome()
        asked = await self.asked()
        for shape in asked:
            await self.accept(shape["id"])
        await self.chunk(0, *rows, last=True)
        await self.up_to(lsn, *(shape["id"] for shape in asked))
        return asked

    async def cut(self) -> None:
        """Drop the connection without a word."""
        self.socket.transport.abort()

    async def close(self, code: int) -> None:
        await self.socket.close(code)


async def failing(work: Coroutine[Any, Any, object], kind: type[Failure]) -> Failure:
    """Return the error with which a call ends: for a task that is meant to fail."""
    try:
        result = await work
    except kind as error:
        return error
    raise AssertionError(f"it did not fail, but returned {result!r}")


class Script:
    """The scenes in their order."""

    def __init__(self) -> None:
        self.url = ""
        self._scenes: asyncio.Queue[Scene] = asyncio.Queue()

    async def scene(self) -> Scene:
        """Wait for the next connection."""
        return await self._scenes.get()

    async def play(self, socket: ServerConnection) -> None:
        scene = Scene(socket)
        self._scenes.put_nowait(scene)
        await socket.wait_closed()


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[Script]:
    """Run the server until the block is left."""
    script = Script()
    async with serve(
        script.play, "127.0.0.1", 0, subprotocols=[Subprotocol("tidewire.v1")], close_timeout=0.1
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        script.url = f"ws://127.0.0.1:{port}/v1/sync"
        yield script


@contextlib.asynccontextmanager
async def talking() -> AsyncIterator[tuple[Client, Scene, Script]]:
    """Connect a client, welcomed."""
    async with scripted() as script, asyncio.TaskGroup() as tasks:

        async def greet() -> Scene:
            scene = await script.scene()
            await scene.welcome()
            return scene

        greeting = tasks.create_task(greet())
        async with Client(script.url) as client:
            yield client, await greeting, script


async def answer(scene: Scene, *rows: list[Any], lsn: str = "0/5") -> list[dict[str, Any]]:
    """Answer one subscribe message with rows."""
    asked = await scene.asked()
    for shape in asked:
        await scene.accept(shape["id"])
    await scene.chunk(0, *rows, last=True)
    await scene.up_to(lsn, *(shape["id"] for shape in asked))
    return asked


async def following(client: Client, scene: Scene, *rows: list[Any]) -> Subscription[dict[str, Any]]:
    """Subscribe `t`, which has these rows."""
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t"))
        await answer(scene, *rows)
        return await asking


async def reached(client: Client, position: str) -> None:
    await until(lambda: client.position == position, f"the client is at {position}")


def bodies(subscription: Subscription[dict[str, Any]]) -> dict[int, str]:
    return {key: row["body"] for key, row in subscription.rows.items()}
