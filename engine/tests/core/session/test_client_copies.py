"""Goal: rows and the commits around them reach a subscription in the one right order.

Method: messages of a server as JSON go in, events and messages to send come out.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.tests.core.session.server_messages import (
    accept,
    chunk,
    commit,
    copying,
    live,
    row,
    said,
    up_to,
    welcome,
)
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol import frames
from tidewire.core.session.client import (
    Chunk,
    ClientSession,
    Committed,
    Progressed,
    RowChange,
)
from tidewire.errors import ProtocolError


def asked(session: ClientSession) -> list[dict[str, Any]]:
    """Return the shapes of the only message."""
    (message,) = said(session)
    assert message["type"] == "subscribe"
    shapes: list[dict[str, Any]] = message["shapes"]
    return shapes


def again(session: ClientSession, epoch: str = "e1") -> list[dict[str, Any]]:
    session.disconnect()
    welcome(session, epoch)
    return asked(session)


# --- the way from nothing to live ---


def test_rows_come_in_chunks_then_the_commits_around_them_then_all_is_shown() -> None:
    session = copying()
    rows = [["i", [1, "0.5", "7"]][1], [2, None, None]]
    (event,) = chunk(session, 0, rows=rows)
    assert event == Chunk(("n",), "c1", 0, [(1, Decimal("0.5"), 7), (2, None, None)], is_last=False)
    assert chunk(session, 1, 3, last=True) == [Chunk(("n",), "c1", 1, [(3, None, None)], True)]
    (event,) = commit(session, "0/3", ["d", [2]], stage=True)
    assert event == Committed(Lsn(3), 5, 6, ({"n": [RowChange("delete", (2,), {})]},), True)
    assert session.cursor is None, "the rows stand at no position yet"
    assert up_to(session, "0/4") == [Progressed(Lsn(4))]
    assert session.is_loading
    assert up_to(session, "0/5", "n") == [Progressed(Lsn(5), ("n",))]
    (event,) = commit(session, "0/6", row(4))
    assert isinstance(event, Committed)
    assert event.changes.keys() == {"n"}
    assert not event.is_staged


def test_the_options_of_a_request_are_asked_for_each_time() -> None:
    session = ClientSession("me")
    request = frames.ShapeRequest(
        id="n", table="notes", columns=["id"], where="id = $1", params=[1]
    )
    session.subscribe_all([request])
    welcome(session)
    whole = {"id": "n", "table": "notes", "columns": ["id"], "where": "id = $1", "params": [1]}
    assert asked(session) == [whole]
    assert again(session) == [whole]


def test_staged_and_live_subscriptions_of_one_shape_get_their_own_commits() -> None:
    session = live()
    session.subscribe("m", "notes")
    accept(session, "m")
    (event,) = chunk(session, 0, 1, last=True)
    assert isinstance(event, Chunk)
    assert event.ids == ("m",)
    (event,) = commit(session, "0/6", row(2))
    assert isinstance(event, Committed)
    assert event.changes.keys() == {"n"}
    (event,) = commit(session, "0/4", row(2), stage=True)
    assert isinstance(event, Committed)
    assert event.changes.keys() == {"m"}, "and it may lie before what is live"
    assert up_to(session, "0/6", "n", "m") == [Progressed(Lsn(6), ("m",))]


def test_parts_of_a_staged_and_of_a_live_commit_come_mixed() -> None:
    session = live()
    session.subscribe("m", "notes")
    accept(session, "m")
    chunk(session, 0, 1, last=True)
    assert commit(session, "0/3", row(2), part=0, last=False, stage=True) == []
    assert commit(session, "0/6", row(2), part=0, last=False) == []
    (staged,) = commit(session, "0/3", row(3), part=1, last=True, stage=True)
    (event,) = commit(session, "0/6", row(3), part=1, last=True)
    for each, id in ((staged, "m"), (event, "n")):
        assert isinstance(each, Committed)
        assert [list(step) for step in each.steps] == [[id], [id]]
        assert [change.key for change in each.changes[id]] == [(2,), (3,)]


def test_chunks_are_counted_and_acknowledged() -> None:
    session = copying(window_bytes=1)
    chunk(session, 0, 1)
    assert said(session) == [{"type": "ack", "n": 1}]


def test_equal_subscriptions_share_what_is_sent() -> None:
    session = copying("m")
    (event,) = chunk(session, 0, 1, last=True)
    assert isinstance(event, Chunk)
    assert event.ids == ("n", "m")
    (staged,) = commit(session, "0/3", row(2), stage=True)
    assert isinstance(staged, Committed)
    assert staged.changes["n"] == staged.changes["m"]
    assert staged.changes["n"] is not staged.changes["m"]
    assert up_to(session, "0/5", "n", "m") == [Progressed(Lsn(5), ("n", "m"))]


def test_chunk_zero_begins_anew_for_all_that_are_not_live() -> None:
    session = copying()
    chunk(session, 0, 1)
    session.subscribe("m", "notes")
    accept(session, "m")
    (event,) = chunk(session, 1, 2)
    assert isinstance(event, Chunk)
    assert event.ids == ("n",), "the other has not begun"
    (event,) = chunk(session, 0, 1, copy="c2")
    assert isinstance(event, Chunk)
    assert event.ids == ("n", "m")
    with pytest.raises(ProtocolError, match="out of order"):
        chunk(session, 2, 3)


def test_a_copy_that_was_whole_begins_anew() -> None:
    session = copying()
    chunk(session, 0, 1, last=True)
    chunk(session, 0, 1, copy="c2")
    with pytest.raises(ProtocolError, match="before the copy is whole"):
        up_to(session, "0/5", "n")


# --- a server that breaks the protocol ---


def other_shape(session: ClientSession) -> None:
    chunk(session, 0, 1, shape="unknown")


def other_shape_committed(session: ClientSession) -> None:
    commit(session, "0/9", parts=[{"shape": "unknown", "changes": []}])


def chunk_skipped(session: ClientSession) -> None:
    chunk(session, 0, 1)
    chunk(session, 2, 1)


def chunk_of_another_copy(session: ClientSession) -> None:
    chunk(session, 0, 1)
    chunk(session, 1, 1, copy="c2")


def first_chunk_missing(session: ClientSession) -> None:
    chunk(session, 1, 1)


def chunk_after_the_last(session: ClientSession) -> None:
    chunk(session, 0, 1, last=True)
    chunk(session, 1, 2)


def staged_too_early(session: ClientSession) -> None:
    chunk(session, 0, 1)
    commit(session, "0/3", row(2), stage=True)


def live_too_early(session: ClientSession) -> None:
    chunk(session, 0, 1)
    up_to(session, "0/3", "n")


def live_unaccepted(session: ClientSession) -> None:
    session.subscribe("m", "notes")
    up_to(session, "0/3", "m")


def short_row(session: ClientSession) -> None:
    chunk(session, 0, rows=[[1]])


def never_the_rows(session: ClientSession) -> None:
    session.subscribe("m", "notes")
    accept(session, "m", mode="live")


def catchup_from_nowhere(session: ClientSession) -> None:
    accept(session, "n", mode="catchup")


def rows_unasked(session: ClientSession) -> None:
    session.subscribe("m", "notes", initial=False)
    accept(session, "m")


@pytest.mark.parametrize(
    "act",
    [
        other_shape,
        other_shape_committed,
        chunk_skipped,
        chunk_of_another_copy,
        first_chunk_missing,
        chunk_after_the_last,
        staged_too_early,
        live_too_early,
        live_unaccepted,
        short_row,
        never_the_rows,
        catchup_from_nowhere,
        rows_unasked,
    ],
)
def test_what_cannot_be_breaks_the_protocol(act: Callable[[ClientSession], None]) -> None:
    with pytest.raises(ProtocolError) as caught:
        act(copying())
    assert caught.value.code == "bad_frame"
    assert caught.value.text


def test_what_was_under_way_when_a_subscription_was_given_up_is_passed_over() -> None:
    session = copying()
    chunk(session, 0, 1)
    session.unsubscribe("n")
    assert chunk(session, 1, 2) == []
    assert commit(session, "0/3", row(1), stage=True) == [Committed(Lsn(3), 5, 6, ({},), True)]
    assert up_to(session, "0/4", "n") == [Progressed(Lsn(4))]
    assert commit(session, "0/5", row(1)) == [Committed(Lsn(5), 5, 6, ({},))]


def test_one_of_two_equal_subscriptions_is_given_up_while_its_rows_are_under_way() -> None:
    session = copying()
    chunk(session, 0, 1)
    session.subscribe("other", "notes")
    accept(session, "other")
    session.unsubscribe("n")
    assert chunk(session, 1, 2, last=True) == []
    assert commit(session, "0/3", row(1), stage=True) == [Committed(Lsn(3), 5, 6, ({},), True)]
    [begun] = chunk(session, 0, 7, last=True)
    assert isinstance(begun, Chunk)
    assert begun.ids == ("other",)
    [shown] = up_to(session, "0/4", "other")
    assert shown == Progressed(Lsn(4), ("other",))
