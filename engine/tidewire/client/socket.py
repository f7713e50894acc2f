"""The client's socket: how it is opened, and which of its ends are final."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from tidewire import limits
from tidewire.core.protocol.codes import CLOSE_BY_NUMBER, CLOSES
from tidewire.errors import Disconnected

# What ends a connection and may not be there the next time.
WEATHER = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake)
_ALL_AT_ONCE = frozenset({CLOSES["restart"].number, CLOSES["overloaded"].number})


@contextlib.asynccontextmanager
async def open_socket(url: str) -> AsyncIterator[ClientConnection]:
    """Connect, and close when the block is left.

    Raises one of WEATHER, or Disconnected when connecting again would not help.
    """
    try:
        socket = await connect(
            url,
            subprotocols=[Subprotocol("tidewire.v1")],
            max_size=limits.CLIENT_MESSAGE_BYTES,
            compression=None,
            open_timeout=limits.CONNECT_TIMEOUT_S,
            close_timeout=limits.CLOSE_S,
            ping_interval=limits.HEARTBEAT_S,
            ping_timeout=limits.DEAD_S,
        )
        try:
            yield socket
        finally:
            await socket.close()
    except InvalidURI as error:
        raise Disconnected(str(error)) from error
    except InvalidStatus as error:
        status = error.response.status_code
        if status < 500:
            body = (error.response.body or b"").decode(errors="replace").strip()
            raise Disconnected(f"the server refused with HTTP {status}: {body}", status) from error
        raise
    except ConnectionClosed as error:
        _judge_close(error)
        raise


def pause_s(error: Exception, chance: float) -> float:
    """Tell how long to stay away, where the server has said something about that.

    A server that stops sends everybody away at once: each draws a moment (`chance` is from 0 to 1).
    """
    if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code in _ALL_AT_ONCE:
        return limits.RESTART_SPREAD_S * chance
    if isinstance(error, InvalidStatus):
        seconds = error.response.headers.get("Retry-After", "")
        return min(int(seconds), limits.RETRY_AFTER_S) * (1 + chance) if seconds.isdecimal() else 0
    return 0


def _judge_close(error: ConnectionClosed) -> None:
    code = error.rcvd.code if error.rcvd else None
    known = CLOSE_BY_NUMBER.get(code or 0)
    if error.rcvd and known and known.number != 1000 and not known.retry:
        raise Disconnected(f"{known.name}: {error.rcvd.reason or known.text}", code) from error
