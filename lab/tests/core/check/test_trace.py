"""Goal: events become spans, across cuts and resets. Method: conversations, event by event."""

from __future__ import annotations

import pytest

from lab.tests.core.scene import ALL, FIRST, RED, Scene, inserted, values
from tidelab.core.check.trace import Trace
from tidelab.core.history.event import (
    Connected,
    Copied,
    Disconnected,
    Invoked,
    Reset,
    Subscribed,
    Unsubscribed,
)
from tidelab.core.history.shape import Shape
from tidelab.errors import ShapeError


def trace(scene: Scene) -> Trace:
    (found,) = scene.evidence.traces
    return found


def test_a_reconnect_goes_on_where_it_was() -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.tell(Disconnected("cut"))
    scene.tell(Connected())
    scene.claim(100)
    scene.tell(Subscribed("s", ALL, "resume"))
    scene.claim(100)
    client = trace(scene)
    assert len(client.spans) == len(client.current) == 1
    assert [len(moment.live) for moment in client.moments] == [1, 0, 1]
    assert {moment.generation for moment in client.moments} == {1}


def test_a_copy_goes_on_where_it_was() -> None:
    scene = Scene(FIRST)
    scene.tell(Connected())
    scene.tell(Subscribed("s", ALL, "copy"))
    scene.tell(Copied("s", (values(*FIRST),), begins=True))
    scene.tell(Disconnected("cut"))
    scene.tell(Subscribed("s", ALL, "copy"))
    scene.claim(100, "s")
    (span,) = trace(scene).spans
    assert span.is_live
    assert not span.mismatches


@pytest.mark.parametrize(
    "event", [Subscribed("s", ALL, "copy"), Subscribed("s", RED, "resume"), Reset("lagged", "s")]
)
def test_what_does_not_go_on_begins_anew(event: Subscribed | Reset) -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.tell(event)
    client = trace(scene)
    assert [span.is_live for span in client.spans] == [True, False]
    assert client.current == client.spans[1:]


def test_a_reset_of_all_is_one_of_those_that_are_live() -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.live("red", RED)
    scene.tell(Subscribed("late", ALL, "tail"))
    scene.tell(Reset("lagged"))
    client = trace(scene)
    assert [span.id for span in client.spans] == ["s", "red", "late", "s", "red"]
    assert [span.has_rows for span in client.current] == [True, True, False]


def test_a_generation_ends_when_nothing_is_live() -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.live("red", RED)
    scene.tell(Unsubscribed("s"))
    scene.claim(100)
    scene.tell(Unsubscribed("red"))
    scene.tell(Unsubscribed("red"))
    scene.live("again")
    generations = [moment.generation for moment in trace(scene).moments]
    assert generations[0] == generations[2] < generations[3]


def test_what_comes_in_the_wrong_state_is_a_stray() -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.commit(110, inserted("2", "red", "1"))
    strays = [scene.put(110, "2", "red", "1", staged=True), scene.tell(Copied("s", ()))]
    scene.tell(Subscribed("new", ALL, "copy"))
    strays.append(scene.put(110, "2", "red", "1", id="new"))
    scene.tell(Disconnected("cut"))
    strays.append(scene.put(110, "2", "red", "1"))
    assert [record.seq for record, _ in trace(scene).strays] == strays


def test_what_is_under_way_for_an_old_subscription_is_passed_over() -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.tell(Unsubscribed("s"))
    scene.put(110, "2", "red", "1")
    scene.tell(Copied("s", ()))
    scene.claim(110, "s")
    scene.tell(Invoked(1, "write"))
    client = trace(scene)
    assert not client.strays
    assert not client.current


def test_live_twice_is_live_once() -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.claim(100, "s")
    (span,) = trace(scene).spans
    assert span.live_since is span.claims[0]


def test_a_shape_that_nobody_can_judge_is_told() -> None:
    scene = Scene()
    scene.tell(Connected())
    scene.tell(Subscribed("s", Shape("nowhere", ("id",)), "copy"))
    with pytest.raises(ShapeError, match="nowhere"):
        trace(scene)


def test_a_copy_that_outlives_all_live_ones_has_a_generation_of_its_own() -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.tell(Subscribed("late", RED, "copy"))
    scene.tell(Unsubscribed("s"))
    scene.claim(100, "late")
    first, second = (moment.generation for moment in trace(scene).moments)
    assert first < second
