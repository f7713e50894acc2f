"""The one judgement of handshakes, whichever way a WebSocket comes in."""

from __future__ import annotations

from collections.abc import Mapping

from tidewire.server.admission import Verdict
from tidewire.server.node import Node

PATH = "/v1/sync"
SUBPROTOCOL = "tidewire.v1"


def judge(node: Node, headers: Mapping[str, str]) -> Verdict | None:
    """Return why a handshake is refused, None when it is accepted; names are in lower case."""
    refused = node.admission.judge(headers.get("host"), headers.get("origin"))
    refused = refused or node.admission.judge_count(node.count_sessions())
    if refused is not None:
        return refused
    if node.tokens.admit_header(headers.get("authorization")) is False:
        return Verdict(401, "the bearer token is not valid")
    offered = headers.get("sec-websocket-protocol", "").split(",")
    if SUBPROTOCOL not in (name.strip() for name in offered):
        return Verdict(400, f"offer the WebSocket subprotocol {SUBPROTOCOL}")
    return None


def headers_for(verdict: Verdict) -> dict[str, str]:
    """Return the headers that go with a refusal."""
    match verdict.status:
        case 401:
            return {"WWW-Authenticate": "Bearer"}
        case 503:
            return {"Retry-After": "5"}
        case _:
            return {}
