"""One WebSocket: frames to the core, frames of the core to the socket.

The one rule: reading and writing do not wait for each other. Whoever does not read fills its own
outbox, and is cut when that is full.
"""

from __future__ import annotations

import asyncio

from tidelab.coordinator.keeper import Keeper
from tidelab.coordinator.listener import Receive, Send
from tidelab.coordinator.outbox import Outbox
from tidelab.core.coord.answer import Answer
from tidelab.core.coord.codec import decode_command
from tidelab.core.coord.coordinator import Rights
from tidelab.limits import COORD_CLOSE_S


async def serve_socket(keeper: Keeper, rights: Rights, receive: Receive, send: Send) -> None:
    """Serve a socket that was let in, until one end closes it."""
    await receive()
    await send({"type": "websocket.accept"})
    outbox = Outbox()
    peer = keeper.connect(rights, outbox)
    try:
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(_write(outbox, send))
            reader = tasks.create_task(_read(keeper, peer, receive))
            cutter = tasks.create_task(_cut(outbox))
            all_three = (reader, writer, cutter)
            await asyncio.wait(all_three, return_when=asyncio.FIRST_COMPLETED)
            for task in all_three:
                task.cancel()
    finally:
        keeper.disconnect(peer)


async def _read(keeper: Keeper, peer: int, receive: Receive) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        frame = event["bytes"] if text is None else text.encode()
        command = decode_command(frame)
        if isinstance(command, Answer):
            keeper.answer(peer, command)
        else:
            keeper.receive(peer, command)
        await keeper.room()


async def _write(outbox: Outbox, send: Send) -> None:
    try:
        while (frames := await outbox.take()) or outbox.closing is None:
            for frame in frames:
                await send({"type": "websocket.send", "text": frame.decode()})
        code, reason = outbox.closing
        await send({"type": "websocket.close", "code": code, "reason": reason})
    except (OSError, RuntimeError):
        return  # it has gone, or uvicorn has just closed it for its silence


async def _cut(outbox: Outbox) -> None:
    """Give a close frame a moment, then go: a full socket would never take it."""
    await outbox.ended.wait()
    await asyncio.sleep(COORD_CLOSE_S)
