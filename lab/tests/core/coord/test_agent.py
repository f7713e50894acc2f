"""Goal: what an agent was last doing can be told. Method: an agent and a few numbers."""

from __future__ import annotations

import tracemalloc

import msgspec

from tidelab.core.coord.agent import Agent, Presence
from tidelab.core.coord.command import Beat, Leave, Put, Raise


def test_an_agent_that_did_nothing_says_so() -> None:
    assert Agent("a", 0.0).story(9.0) == "has asked for nothing"


def test_the_story_holds_what_it_said_asked_and_how_long_it_is_gone() -> None:
    agent = Agent("a", 0.0)
    agent.say("loading page 3", 1.0)
    agent.note(Raise(signal="ready"), 2.0)
    agent.note(Beat(), 3.0)
    agent.presence, agent.since = Presence.DEAD, 4.0
    told = "dead for 1.0 s; loading page 3 (4.0 s ago); asked to raise ready 3.0 s ago"
    assert agent.story(5.0) == told
    assert str(Leave()) == "leave"


def test_what_an_agent_wrote_is_not_held_to_be_told() -> None:
    agent = Agent("a", 0.0)
    tracemalloc.start()
    try:
        agent.note(Put(key="k", value=msgspec.Raw(bytes(1_000_000))), 1.0)
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()
    assert agent.latest() == ("put k", 1.0)
