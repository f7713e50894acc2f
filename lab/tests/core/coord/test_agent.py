"""Goal: what an agent was last doing can be told. Method: an agent and a few numbers."""

from __future__ import annotations

from tidelab.core.coord.agent import Agent, Presence
from tidelab.core.coord.command import Beat, Leave, Raise


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
