"""What agents are told: answers, faults and pushes, as values."""

from __future__ import annotations

from typing import Literal

import msgspec

Code = Literal[
    "bad_request",  # not JSON, a wrong type, a number out of range, a field that does not exist
    "unknown_command",
    "unauthorized",  # no token, or a wrong one
    "forbidden",  # the token's role may not do this
    "not_joined",  # this needs an agent
    "not_found",
    "conflict",  # others said something else: another version, another number of agents
    "too_large",
    "full",  # a bound of the server; `message` says which
    "gone",  # it was there, and is no longer remembered: a generation, or a run
    "timeout",
    "cancelled",
    "broken",  # too few can ever come
    "deadlock",  # everybody waits for somebody who waits
    "dropped",  # the run was deleted
    "unavailable",  # the server stops, or has no room: try again
]


class Roll(msgspec.Struct, frozen=True, gc=False):
    """Who came to a barrier and who did not; lists of names are cut, numbers are not."""

    barrier: str
    generation: int
    needed: int
    arrived_count: int
    arrived: tuple[str, ...]
    missing_count: int
    missing: tuple[str, ...]
    """Those known by name; `missing_count` may be more."""
    dead: tuple[str, ...]
    doing: dict[str, str]
    """What each of those named was last doing."""


class Fault(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why a request was not done."""

    code: Code
    message: str
    roll: Roll | None = None
    version: int | None = None


class Body(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a request has led to; like all here a tree, in which there is nothing to collect."""


class Done(Body, frozen=True):
    """It is done, and there is nothing to say about it."""


class Joined(Body, frozen=True):
    """The connection is an agent now."""

    run: str
    agent: str
    now_ms: int
    lease_s: float
    began_ms: int
    """When the run came into being: an agent that comes back asks for this one, and no other."""


class Time(Body, frozen=True):
    """The server's clock, and what it makes of the agent's: `agent = server + offset ± error`."""

    now_ms: int
    offset_ms: float | None = None
    error_ms: float | None = None


class Released(Body, frozen=True, omit_defaults=False):
    """The barrier is open, and all start at one moment, told on both clocks."""

    barrier: str
    generation: int
    start_at_ms: int
    start_at_local_ms: int | None
    """None while the agent's clock is not known: it has not sent two beats."""
    start_in_ms: int
    arrived: int
    rank: int | None
    """None for whoever came late."""


class Waiting(Body, frozen=True, omit_defaults=False):
    """Not yet; the place is kept, and the agent asks again."""

    barrier: str
    generation: int
    arrived: int
    needed: int


class Raised(Body, frozen=True):
    """A signal was raised; `sequence` is nobody else's."""

    signal: str
    sequence: int


class Reached(Body, frozen=True):
    """A signal has been raised so often."""

    signal: str
    count: int


class Published(Body, frozen=True):
    """An event has its place."""

    topic: str
    offset: int


class Event(msgspec.Struct, frozen=True):
    """One event of a topic."""

    offset: int
    data: msgspec.Raw


class Events(Body, frozen=True):
    """A stretch of a topic; `gap` are the first and last offset that are no longer there."""

    topic: str
    next: int
    events: tuple[Event, ...]
    gap: tuple[int, int] | None = None


class Value(Body, frozen=True):
    """A key; one that is not there has no version and no value."""

    key: str
    version: int | None = None
    value: msgspec.Raw | None = None


class Written(Body, frozen=True):
    """A key has a new version, greater than every version in the run before."""

    key: str
    version: int


class RunLine(msgspec.Struct, frozen=True):
    """A run in a list."""

    run: str
    present: int
    waiting: int
    """Barriers where somebody waits."""
    used_ms: int


class Runs(Body, frozen=True):
    """All runs."""

    runs: tuple[RunLine, ...]
    version: int
    """Grows with every change; `after` asks for a newer one."""
    now_ms: int


class AgentLine(msgspec.Struct, frozen=True):
    """An agent in the description of a run."""

    agent: str
    role: str
    state: str
    since_ms: int
    """Since when it is in this state."""
    did: str
    """What it last asked for, or said that it is doing ..."""
    did_ms: int
    """... and when."""
    says: str
    """What it says that it is doing, if it has asked for something since."""
    doing: str
    """All of that in words, as it is told to those who wait for the agent."""


class BarrierLine(msgspec.Struct, frozen=True):
    """A barrier in the description of a run; `roll` when somebody waits there."""

    barrier: str
    decided: int
    last: str | None
    roll: Roll | None
    since_ms: int | None
    """Since when somebody waits."""


class RunStory(Body, frozen=True):
    """A run as it is now; long lists are cut, numbers are not."""

    run: str
    version: int
    """Grows with every change; `after` asks for a newer one."""
    now_ms: int
    began_ms: int
    size: int | None
    counts: dict[str, int]
    agents: tuple[AgentLine, ...]
    barriers: tuple[BarrierLine, ...]
    signals: dict[str, int]
    topics: dict[str, int]
    keys: dict[str, int]


class Push(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower, gc=False):
    """What is told without a question."""


class Appended(Push, frozen=True):
    """A topic has a new event."""

    topic: str
    offset: int
    data: msgspec.Raw


class Changed(Push, frozen=True):
    """A key was written; removed when it has no version."""

    key: str
    version: int | None
    value: msgspec.Raw | None


class Replaced(Push, frozen=True):
    """Another connection is this agent now; the server closes this one."""

    agent: str


class Dropped(Push, frozen=True):
    """The run was deleted; the server closes the connection."""

    run: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One answer as it is written."""

    id: int | str | None = None
    ok: Body | msgspec.Raw | None = None
    """Raw when it was given before, and is repeated."""
    error: Fault | None = None


Result = Body | Fault | msgspec.Raw
