"""Goal: a session keeps the positions that its client waits for, and not too many.

Method: frames of the client, and positions as the hub passes them.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.tests.core.bench import Peer
from tidewire import limits
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.node import Node

NODE = Node("epoch-1", Lsn(0x1_0000_0002))
HELLO = b'{"type":"hello","client":"browser"}'


def opened(now: float = 0.0) -> Peer:
    peer = Peer(now=now)
    peer.session.receive(HELLO, now, NODE)
    peer.session.flush()
    peer.take()
    return peer


def flushed(peer: Peer) -> list[dict[str, Any]]:
    peer.session.flush()
    return peer.heard()


# --- positions that are waited for ---


def wait(lsn: str) -> bytes:
    return b'{"type":"wait","lsn":"%b"}' % lsn.encode()


def test_a_position_is_reached_once_with_all_before_it() -> None:
    peer = opened()
    for lsn in ("0/30", "0/10", "0/20", "0/20"):
        peer.session.receive(wait(lsn), 0.0, NODE)
    assert peer.session.waits == [0x10, 0x20, 0x20, 0x30]
    assert not peer.session.reach(Lsn(0xF))
    assert peer.session.reach(Lsn(0x20))
    assert peer.session.waits == [0x30]
    assert not peer.session.reach(Lsn(0x2F))
    assert peer.session.reach(Lsn(0x40))
    assert not peer.session.reach(Lsn(0x40))


@pytest.mark.parametrize("lsn", ["", "0", "0/XYZ", "0/123456789"])
def test_what_is_no_position_cannot_be_waited_for(lsn: str) -> None:
    peer = opened()
    assert peer.session.receive(wait(lsn), 0.0, NODE) is None
    ((code, text),) = [(m["code"], m["text"]) for m in flushed(peer)]
    assert (code, peer.session.waits) == ("bad_lsn", [])
    assert "X/Y" in text


def test_a_session_waits_for_a_limited_number_of_positions() -> None:
    peer = opened()
    for i in range(limits.WAITS):
        assert peer.session.receive(wait(f"0/{i:X}"), 0.0, NODE) is not None
    assert flushed(peer) == []
    assert peer.session.receive(wait("0/1"), 0.0, NODE) is None
    assert [m["code"] for m in flushed(peer)] == ["too_many"]
    peer.session.reach(Lsn(0))
    assert peer.session.receive(wait("0/1"), 0.0, NODE) is not None
