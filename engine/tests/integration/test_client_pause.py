"""A client that was sent away together with all others does not come back together with them."""

from __future__ import annotations

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

from engine.tests.integration.loop import on_loop
from engine.tests.integration.script import following, talking
from tidewire import limits
from tidewire.client.socket import pause_s


def closed(code: int | None) -> ConnectionClosedError:
    return ConnectionClosedError(Close(code, "") if code else None, None)


def refused(status: int, **headers: str) -> InvalidStatus:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return InvalidStatus(Response(status, "", Headers(named)))


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        (closed(1012), 0, limits.RESTART_SPREAD_S),
        (closed(1013), 0, limits.RESTART_SPREAD_S),
        (closed(1011), 0, 0),
        (closed(None), 0, 0),
        (refused(503, Retry_After="5"), 5, 10),
        (refused(503, Retry_After="99999"), limits.RETRY_AFTER_S, 2 * limits.RETRY_AFTER_S),
        (refused(503, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), 0, 0),
        (refused(503), 0, 0),
        (OSError("unreachable"), 0, 0),
    ],
)
def test_how_long_a_client_stays_away(error: Exception, least: float, most: float) -> None:
    assert (pause_s(error, 0.0), pause_s(error, 1.0)) == (least, most)


@on_loop
async def test_a_client_comes_back_to_a_server_that_was_restarted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RESTART_SPREAD_S", 0.05)
    async with talking() as (client, scene, script):
        await following(client, scene, [1, "a"])
        await scene.socket.close(1012)
        await (await script.scene()).welcome()
