"""Take part in a coordinated test run: meet others at barriers, and share data with them."""

from __future__ import annotations

from tidelab.agent.agent import Agent, Entry, Event, Start
from tidelab.agent.blocking import BlockingAgent
from tidelab.errors import (
    AgentEnded,
    AgentError,
    BarrierBroken,
    Conflict,
    Denied,
    RunForgotten,
    SignalTimeout,
)

__all__ = [
    "Agent",
    "AgentEnded",
    "AgentError",
    "BarrierBroken",
    "BlockingAgent",
    "Conflict",
    "Denied",
    "Entry",
    "Event",
    "RunForgotten",
    "SignalTimeout",
    "Start",
]
