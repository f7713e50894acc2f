"""Goal: what client and server say at the same time crosses on the way, and does no harm.

Method: messages of a server as JSON go in, events and messages to send come out.
"""

from __future__ import annotations

import pytest

from engine.tests.core.session.server_messages import (
    NOTES,
    accept,
    again,
    asked,
    chunk,
    copying,
    joined,
    live,
    said,
    told,
    up_to,
    welcome,
    went,
)
from tidewire.core.model.lsn import Lsn
from tidewire.core.session.client import Progressed, WasReset
from tidewire.errors import ProtocolError


def test_a_reset_was_under_way_when_a_position_was_shown() -> None:
    session = live()
    assert "from" in again(session, "e1")[0]
    reset = {"type": "reset", "reason": "other_history", "epoch": "e2"}
    told(session, **reset)
    told(session, **NOTES | {"mode": "catchup"})
    told(session, **reset)
    assert session.is_loading
    chunk(session, 0, 7, last=True)
    went(session, *up_to(session, "0/9", "n"))


def test_who_was_not_asked_to_go_on_sends_rows() -> None:
    session = live()
    session.subscribe("other", "notes")
    with pytest.raises(ProtocolError, match="does not send the rows"):
        told(session, **NOTES | {"id": "other", "mode": "catchup"})


def test_who_was_refused_and_asked_again_is_left_behind_by_the_others() -> None:
    session = live("other")
    again(session)
    told(session, **NOTES | {"mode": "catchup"})
    told(session, type="error", code="unavailable", text="later", ref="other")
    session.ask_again("other")
    assert asked(session) == [{"id": "other", "table": "notes"}], "the others move the cursor"
    lost, moved = up_to(session, "0/9")
    assert (lost, moved) == (WasReset(("other",), "lagged"), Progressed(Lsn(9)))


def test_a_server_that_is_behind_refuses_all_and_says_where_it_is() -> None:
    session = live()
    again(session)
    told(session, type="error", code="unavailable", text="later", ref="n")
    assert up_to(session, "0/3") == [WasReset(("n",), "lagged"), Progressed(Lsn(3))]
    assert session.cursor is not None
    assert session.cursor.lsn == 3


def test_who_takes_no_rows_and_has_no_position_continues_nobody_elses() -> None:
    session = joined()
    told(session, type="reset", reason="lagged", epoch="e1")
    session.disconnect()
    session.connect()
    session.subscribe("other", "notes")
    welcome(session)
    shapes = asked(session)
    assert not any("from" in shape for shape in shapes), shapes


def test_rows_of_one_that_was_given_up_before_it_was_accepted_are_passed_over() -> None:
    session = copying("other")
    session.unsubscribe("other")
    accept(session, "other")
    accept(session, "n")
    assert chunk(session, 3, 1) == []


def test_who_comes_back_shows_what_its_table_was_when_it_was_told_last() -> None:
    session = joined()
    for fingerprint in ("f1", "f2"):
        up_to(session, "0/9")
        session.disconnect()
        welcome(session)
        said(session)
        told(session, **NOTES | {"mode": "catchup", "fingerprint": fingerprint})
    session.disconnect()
    welcome(session)
    ((shape,),) = [message["shapes"] for message in said(session)]
    assert shape["fingerprint"] == "f2"
    session.disconnect()
    session.start_over()
    welcome(session)
    ((shape,),) = [message["shapes"] for message in said(session)]
    assert "fingerprint" not in shape, "who does not go on has nothing to show"
