"""Goal: what one subscription remembers survives what it must, and nothing else.

Method: it is led through its phases directly; the session's own tests lead it through messages.
"""

from __future__ import annotations

import pytest

from tidewire.core.protocol import frames
from tidewire.core.session.wanted import Phase, Wanted
from tidewire.errors import ProtocolError

REQUEST = frames.ShapeRequest(id="n", table="notes")
COMMITS_ONLY = frames.ShapeRequest(id="n", table="notes", initial=False)


def subscribed(mode: str) -> frames.Subscribed:
    return frames.Subscribed(
        id="n",
        shape="s1",
        table="public.notes",
        key=["id"],
        columns=[("id", "int4")],
        mode=mode,  # type: ignore[arg-type]
    )


def snapshot(number: int, *, last: bool = False) -> frames.Snapshot:
    return frames.Snapshot(shape="s1", copy="c1", chunk=number, rows=[], last=last)


def test_a_copy_survives_the_connection_and_nothing_else_does() -> None:
    wanted = Wanted(REQUEST)
    assert not wanted.accept(subscribed("initial"))
    assert wanted.is_known
    wanted.take_chunk(snapshot(0), "e1")
    wanted.leave()
    assert [wanted.phase, wanted.shape, wanted.is_known] == [Phase.WANTED, None, False]
    assert wanted.resumed().resume == frames.Resume(copy="c1", chunk=1)


def test_what_is_live_has_no_copy_any_more() -> None:
    wanted = Wanted(REQUEST)
    wanted.accept(subscribed("initial"))
    wanted.take_chunk(snapshot(0, last=True), "e1")
    wanted.go_live()
    wanted.leave()
    assert wanted.has_position
    assert wanted.is_known
    assert wanted.resumed() == REQUEST


@pytest.mark.parametrize(("request_", "mode"), [(REQUEST, "live"), (COMMITS_ONLY, "initial")])
def test_an_answer_to_something_else_is_refused(request_: frames.ShapeRequest, mode: str) -> None:
    with pytest.raises(ProtocolError):
        Wanted(request_).accept(subscribed(mode))


def test_commits_only_go_on_after_a_reset() -> None:
    wanted = Wanted(COMMITS_ONLY)
    wanted.accept(subscribed("live"))
    wanted.reset(has_ended=False, keeps_copy=False)
    assert (wanted.phase, wanted.has_position) == (Phase.LIVE, True)
    wanted.reset(has_ended=True, keeps_copy=True)
    assert (wanted.phase, wanted.has_position) == (Phase.WANTED, False)
