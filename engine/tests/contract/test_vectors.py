"""Goal: what `protocol/vectors` says is what our frames, our client session and our store do.

Method: every single frame is read by the codec; every conversation is replayed against the client's
session and store, as any other implementation of the protocol has to replay them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidewire.core.model.lsn import format_lsn
from tidewire.core.protocol.codec import decode_client, decode_server
from tidewire.core.protocol.frames import ShapeRequest
from tidewire.core.session.client import ClientSession, Progressed
from tidewire.core.store import Store
from tidewire.errors import ProtocolError

VECTORS = Path(__file__).resolve().parents[3] / "protocol" / "vectors"
FRAMES = json.loads((VECTORS / "frames.json").read_text())
CONVERSATIONS = sorted((VECTORS / "client").glob("*.json"))


@pytest.mark.parametrize("side", ["client", "server"])
def test_single_frames_are_taken_or_refused(side: str) -> None:
    decode: Any = decode_client if side == "client" else decode_server
    for vector in FRAMES[side]:
        payload = vector.get("text", json.dumps(vector.get("frame"))).encode()
        if "code" in vector:
            with pytest.raises(ProtocolError) as refused:
                decode(payload)
            assert refused.value.code == vector["code"], vector
        else:
            assert decode(payload) is not None


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_a_conversation_goes_as_it_is_written(path: Path) -> None:
    vector = json.loads(path.read_text())
    session, store = ClientSession("vector"), Store()
    session.subscribe_all([ShapeRequest(**request) for request in vector["subscribe"]])
    tables = {request["id"]: store.add(request["id"]) for request in vector["subscribe"]}
    shown: set[str] = set()
    for number, step in enumerate(vector["steps"]):
        if "connect" in step:
            session.connect()
        elif "disconnect" in step:
            session.disconnect()
        else:
            for event in session.receive(json.dumps(step["receive"])):
                store.apply(event)
                if isinstance(event, Progressed):
                    shown.update(event.live)
        assert [json.loads(frame) for frame in session.take()] == step.get("send", []), number
        for id, rows in step.get("rows", {}).items():
            found = [list(row.values()) for row in tables[id].rows.values()]
            assert (sorted(found) if id in shown else None) == ((rows and sorted(rows)) or rows), (
                number
            )
        if "position" in step:
            position = format_lsn(session.cursor.lsn) if session.cursor else None
            assert position == step["position"], number
