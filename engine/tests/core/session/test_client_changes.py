"""Goal: the client's session acknowledges in time and reads changes into Python's types.

Method: messages of a server as JSON go in, events and messages to send come out.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from engine.tests.core.session.server_messages import (
    NOTES,
    commit,
    joined,
    row,
    said,
    told,
    up_to,
    welcome,
)
from tidewire import limits
from tidewire.core.session.client import (
    Committed,
    RowChange,
)
from tidewire.errors import ProtocolError

# --- acknowledgements ---


def test_every_half_of_the_window_is_acknowledged_with_the_count_of_all() -> None:
    session = joined(window_bytes=4_000)
    size, count = 0, 0
    for number in range(2, 60):
        message = {"type": "commit", "lsn": f"0/{number:X}", "at": 1, "xid": 1, "tag": "t"}
        payload = json.dumps(message | {"parts": []})
        session.receive(payload)
        size, count = size + len(payload), count + 1
        acks = said(session)
        assert acks == ([{"type": "ack", "n": count}] if size >= 2_000 else [])
        size = 0 if acks else size


def test_the_window_is_the_usual_one_if_the_server_does_not_say() -> None:
    session = joined()
    commit(session, "0/2", tag="x" * (limits.WINDOW_BYTES // 2 - 1_000))
    assert said(session) == []
    commit(session, "0/3", tag="x" * 1_000)
    assert said(session) == [{"type": "ack", "n": 2}]


def test_the_count_begins_anew_with_each_connection() -> None:
    session = joined(window_bytes=1)
    commit(session, "0/2")
    session.disconnect()
    welcome(session, window_bytes=1)
    session.take()
    told(session, **NOTES)
    commit(session, "0/3")
    assert said(session) == [{"type": "ack", "n": 1}]


def test_messages_that_move_no_state_are_not_acknowledged() -> None:
    session = joined(window_bytes=1)
    up_to(session, "0/2")
    assert said(session) == []


# --- changes ---


def test_changes_carry_values_of_the_types_that_subscribed_named() -> None:
    (event,) = commit(
        joined(),
        "0/2",
        ["i", [1, "0.10", "9007199254740993"]],
        ["u", [1], {"amount": None, "big": "7"}],
        ["k", [1], [2], {"amount": "NaN"}],
        ["d", [2]],
        ["t"],
    )
    assert isinstance(event, Committed)
    first, *rest = event.changes["n"]
    whole = {"id": 1, "amount": Decimal("0.10"), "big": 9007199254740993}
    assert first == RowChange("insert", (1,), whole)
    assert rest[0] == RowChange("update", (1,), {"amount": None, "big": 7})
    assert (rest[1].op, rest[1].key, rest[1].old_key) == ("rekey", (2,), (1,))
    assert rest[2:] == [RowChange("delete", (2,), {}), RowChange("truncate", (), {})]


def test_two_subscriptions_to_one_table_both_get_the_changes() -> None:
    session = joined("tasks")
    session.subscribe("m", "notes", initial=False)
    told(session, **NOTES | {"id": "m"})
    (event,) = commit(session, "0/2", row(1))
    assert isinstance(event, Committed)
    assert event.changes.keys() == {"n", "m"}


@pytest.mark.parametrize(
    "change",
    [
        [],
        ["x"],
        ["i"],
        ["i", [1]],
        ["i", [1, 2, 3, 4]],
        ["i", {"id": 1}],
        ["u", [1]],
        ["u", [1], []],
        ["u", [1, 2], {}],
        ["u", [], {}],
        ["u", [1], {"nothing": 1}],
        ["d", 1],
        ["d", []],
        ["k", [1], {}],
        ["k", [1], [], {}],
        ["k", [1, 2], [1], {}],
        ["t", 1],
        [None],
    ],
)
def test_a_change_of_no_known_form_breaks_the_protocol(change: list[Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        commit(joined(), "0/2", change)
    assert caught.value.code == "bad_frame"


def test_a_key_that_is_none_of_the_columns_breaks_the_protocol() -> None:
    session = joined()

    def go_on() -> None:
        # Where it is noticed is the session's own affair.
        told(session, **NOTES | {"key": ["elsewhere"]})
        commit(session, "0/2", row(1))

    with pytest.raises(ProtocolError):
        go_on()


@pytest.mark.parametrize("payload", [b"", b"{", b'{"type":"nonsense"}', "[]", b"\xff"])
def test_a_message_that_is_none_breaks_the_protocol(payload: bytes | str) -> None:
    with pytest.raises(ProtocolError):
        joined().receive(payload)
