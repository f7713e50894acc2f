"""Goal: what the vectors do not show: tails, resets, refusals, the window, a server that errs.

Method: frames in, events and frames out; the session has no socket and no clock.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidelab.core.driver import Reply, Wanted
from tidelab.core.history.event import (
    Claimed,
    Clear,
    Copied,
    Part,
    Put,
    Received,
    Remove,
    Reset,
    Subscribed,
    Unsubscribed,
)
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Between, Shape
from tidelab.core.history.truth import Column, Table
from tidelab.driver.tidewire import TidewireDriver, TidewireSession
from tidelab.errors import WireError

NOTES = Table("notes", ("id",), (Column("id", "int4"), Column("body", "text")))
SHAPE = Shape("notes", ("id", "body"))
COLUMNS = [["id", "int4"], ["body", "text"]]


class Talk:
    """A session, and a server that is played."""

    def __init__(self, *wanted: Wanted, window: int = 1 << 20) -> None:
        self.session = TidewireSession("c", {"notes": NOTES})
        self.session.subscribe(wanted or [Wanted("1", SHAPE)])
        self.window = window
        self.asked = self.connect()

    def connect(self) -> list[Any]:
        self.session.open()
        limits = {"window_bytes": self.window}
        return self.sent(self.hear("welcome", session="s", epoch="e", lsn="0/1", limits=limits))

    def hear(self, type: str, **fields: Any) -> Reply:
        return self.session.receive(json.dumps({"type": type, **fields}))

    def accept(self, id: str = "1", mode: str = "initial", shape: str = "s1") -> Reply:
        fields = {"table": "public.notes", "key": ["id"], "columns": COLUMNS}
        return self.hear("subscribed", id=id, shape=shape, mode=mode, **fields)

    def copy(self, rows: list[Any], chunk: int = 0, last: bool = True) -> Reply:
        return self.hear("snapshot", shape="s1", copy="k", chunk=chunk, rows=rows, last=last)

    def commit(self, lsn: str, changes: list[Any], shape: str = "s1", **fields: Any) -> Reply:
        parts = [{"shape": shape, "changes": changes}]
        return self.hear("commit", lsn=lsn, at=1, xid=1, tag=lsn, parts=parts, **fields)

    def live(self) -> None:
        self.accept()
        self.copy([[1, "a"]])
        self.hear("up_to_date", lsn="0/10", tag="t", live=["1"])

    @staticmethod
    def sent(reply: Reply) -> list[Any]:
        return [json.loads(frame) for frame in reply.frames]


def test_who_stands_where_the_server_says_goes_on_from_there() -> None:
    """A server that knows the position already says so before it has looked a table up."""
    talk = Talk()
    talk.live()
    talk.session.close()
    [asked] = talk.connect()
    assert asked["shapes"][0]["from"] == {"epoch": "e", "lsn": "0/10", "tag": "t"}
    assert talk.hear("up_to_date", lsn="0/10", tag="t").events == (Claimed(Lsn(16)),)
    assert talk.accept(mode="catchup").events == (Subscribed("1", SHAPE, "resume"),)


def test_who_was_told_of_a_later_position_cannot_go_on_from_an_earlier_one() -> None:
    talk = Talk()
    talk.live()
    talk.session.close()
    talk.connect()
    talk.hear("up_to_date", lsn="0/20", tag="t")
    with pytest.raises(WireError, match="'catchup' does not answer"):
        talk.accept(mode="catchup")


def test_a_shape_is_asked_for_in_words_of_sql() -> None:
    shape = Shape("notes", ("id",), Between("id", "3", None))
    talk = Talk(Wanted("x", shape, has_rows=False))
    request = {"id": "x", "table": "notes", "columns": ["id"], "where": '"id" >= 3'}
    assert talk.asked == [{"type": "subscribe", "shapes": [{**request, "initial": False}]}]


def test_a_tail_is_live_from_the_word_that_the_log_is_read() -> None:
    talk = Talk(Wanted("1", SHAPE, has_rows=False))
    assert talk.accept(mode="live").events == (Subscribed("1", SHAPE, "tail"),)
    assert talk.hear("up_to_date", lsn="0/10", tag="t").events == (Claimed(Lsn(16), ("1",)),)


def test_a_tail_is_live_from_its_first_commit() -> None:
    talk = Talk(Wanted("1", SHAPE, has_rows=False))
    talk.accept(mode="live")
    part = Part("1", (Remove(("1",)),))
    events = talk.commit("0/20", [["d", [1]]]).events
    assert events == (Claimed(Lsn(31), ("1",)), Received(Lsn(32), (part,)))


def test_a_word_about_others_is_none_about_a_tail() -> None:
    talk = Talk(Wanted("1", SHAPE), Wanted("2", SHAPE, has_rows=False))
    talk.accept()
    talk.accept("2", "live", "s2")
    talk.copy([])
    events = talk.hear("up_to_date", lsn="0/10", tag="t", live=["1"]).events
    assert events == (Claimed(Lsn(16), ("1",)),)


def test_a_tail_that_is_reset_begins_again() -> None:
    talk = Talk(Wanted("1", SHAPE, has_rows=False))
    talk.accept(mode="live")
    talk.hear("up_to_date", lsn="0/10", tag="t")
    assert talk.hear("reset", reason="lagged", epoch="e2").events == (Reset("lagged"),)
    assert talk.hear("up_to_date", lsn="0/8", tag="t").events == (Claimed(Lsn(8), ("1",)),)


def test_a_reset_brings_the_epoch_that_the_next_position_belongs_to() -> None:
    talk = Talk()
    talk.live()
    talk.hear("reset", reason="other_history", epoch="e2")
    talk.copy([])
    talk.hear("up_to_date", lsn="0/30", tag="t2", live=["1"])
    talk.session.close()
    [asked] = talk.connect()
    assert asked["shapes"][0]["from"] == {"epoch": "e2", "lsn": "0/30", "tag": "t2"}


def test_a_large_staged_commit_comes_in_frames_of_one_position() -> None:
    talk = Talk()
    talk.accept()
    talk.copy([[1, "a"]])
    assert talk.commit("0/20", [["t"]], stage=True).events == ()
    assert talk.commit("0/20", [["i", [2, "b"]]], stage=True).events == ()
    staged = Received(Lsn(32), (Part("1", (Clear(), Put({"id": "2", "body": "b"}))),), True)
    assert talk.commit("0/30", [["d", [2]]], stage=True).events == (staged,)
    last = Received(Lsn(48), (Part("1", (Remove(("2",)),)),), True)
    events = talk.hear("up_to_date", lsn="0/30", tag="t", live=["1"]).events
    assert events == (last, Claimed(Lsn(48), ("1",)))


def test_a_copy_that_begins_anew_forgets_what_was_kept_back() -> None:
    talk = Talk()
    talk.accept()
    talk.copy([])
    talk.commit("0/20", [["d", [1]]], stage=True)
    assert talk.copy([]).events == (Copied("1", (), begins=True),)
    events = talk.hear("up_to_date", lsn="0/30", tag="t", live=["1"]).events
    assert events == (Claimed(Lsn(48), ("1",)),)


def test_a_table_that_changed_is_asked_for_again() -> None:
    talk = Talk()
    talk.live()
    reply = talk.hear("reset", reason="schema_changed", epoch="e", shape="s1")
    assert reply.events == (Reset("schema_changed", "1"),)
    assert talk.sent(reply) == [{"type": "subscribe", "shapes": [{"id": "1", "table": "notes"}]}]


def test_a_refusal_ends_a_subscription_and_is_explained() -> None:
    talk = Talk()
    reply = talk.hear("error", code="unavailable", text="not now", ref="1")
    assert reply.events == (Unsubscribed("1"),)
    assert talk.session.explain("1") == "unavailable: not now"
    assert talk.session.explain("2") == ""
    assert len(talk.session.subscribe([Wanted("1", SHAPE)])) == 1


def test_an_error_about_a_live_subscription_ends_nothing() -> None:
    talk = Talk()
    talk.live()
    assert talk.hear("error", code="id_in_use", text="twice", ref="1").events == ()


def test_half_of_the_window_is_acknowledged() -> None:
    talk = Talk(window=800)
    talk.accept()
    assert talk.sent(talk.copy([[1, "x" * 200]], last=False)) == []
    assert talk.sent(talk.copy([[2, "x" * 200]], chunk=1)) == [{"type": "ack", "n": 2}]


def test_what_is_given_up_is_passed_over() -> None:
    talk = Talk()
    talk.accept()
    assert [json.loads(f) for f in talk.session.unsubscribe("1")] == [
        {"type": "unsubscribe", "id": "1"}
    ]
    assert talk.copy([[1, "a"]]).events == ()
    assert talk.hear("up_to_date", lsn="0/10", tag="t", live=["1"]).events == (Claimed(Lsn(16)),)
    talk.session.close()
    assert talk.hear("pong", t=1) == Reply()
    assert talk.connect() == []


def test_a_position_is_waited_for_across_connections() -> None:
    talk = Talk()
    wait = {"type": "wait", "lsn": "0/50"}
    assert [json.loads(frame) for frame in talk.session.wait(Lsn(80))] == [wait]
    talk.session.close()
    assert talk.session.wait(Lsn(80)) == []
    assert talk.connect()[-1] == wait
    talk.hear("up_to_date", lsn="0/50", tag="t")
    talk.session.close()
    assert wait not in talk.connect()


def test_equal_shapes_share_what_comes() -> None:
    talk = Talk(Wanted("1", SHAPE), Wanted("2", SHAPE))
    talk.accept("1")
    talk.accept("2")
    events = talk.copy([[1, "a"]]).events
    assert [event.id for event in events if isinstance(event, Copied)] == ["1", "2"]


def test_the_driver_names_its_endpoint() -> None:
    driver = TidewireDriver("127.0.0.1:1")
    assert driver.endpoint().url == "ws://127.0.0.1:1/v1/sync"
    assert driver.endpoint().subprotocols == ("tidewire.v1",)
    assert isinstance(driver.session("c", {}), TidewireSession)


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        ({"type": "commit", "lsn": "0/20", "parts": [{"shape": "s9", "changes": []}]}, "never ann"),
        ({"type": "commit", "lsn": "0/20", "parts": [], "part": 1}, "after 0 parts"),
        ({"type": "commit", "lsn": "0/20", "parts": [{"shape": "s1", "changes": [["x"]]}]}, "unkn"),
        ({"type": "snapshot", "shape": "s2", "copy": "k", "chunk": 3, "rows": []}, "expected 0"),
        ({"type": "up_to_date", "lsn": "0/20", "live": ["2"]}, "is copying"),
        ({"type": "subscribed", "id": "2", "shape": "s3", "mode": "live"}, "is not sent"),
        ({"type": "subscribed", "id": "2"}, "without the name"),
        ({"type": "commit", "lsn": 7}, "unknown form"),
    ],
)
def test_a_server_that_errs_is_told_so(frame: dict[str, Any], complaint: str) -> None:
    talk = Talk(Wanted("1", SHAPE), Wanted("2", SHAPE))
    talk.live()
    talk.accept("2", shape="s2")
    with pytest.raises(WireError, match=complaint):
        talk.session.receive(json.dumps(frame))


@pytest.mark.parametrize(
    "change",
    [["i", [1]], ["d", [1, 2]], ["u", [1], {"other": 1}], ["k", [1], [2]], []],
)
def test_a_change_of_a_wrong_form_is_told_so(change: list[Any]) -> None:
    talk = Talk()
    talk.live()
    with pytest.raises(WireError):
        talk.commit("0/20", [change])


def test_rows_that_were_not_asked_for_are_told_so() -> None:
    talk = Talk(Wanted("1", SHAPE, has_rows=False))
    with pytest.raises(WireError, match="does not answer"):
        talk.accept(mode="initial")
