"""What agents ask for, as values.

The one rule: what stands here is checked by its type when it is read (`codec`), so nobody behind it
meets a wrong type, a name too long or a number out of range.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from tidelab.limits import (
    COORD_AGENTS_MAX,
    COORD_DOING_CHARS_MAX,
    COORD_LEAD_MAX_MS,
    COORD_LEAD_MS,
    COORD_LEASE_MAX_S,
    COORD_LEASE_S,
    COORD_NAME_CHARS_MAX,
    COORD_POLL_MAX_S,
    COORD_WAIT_MAX_S,
    COORD_WAIT_S,
)

NAME_PATTERN = rf"^[A-Za-z0-9._:@+\-]{{1,{COORD_NAME_CHARS_MAX}}}\Z"
NAME_IN_WORDS = f"a name (1 to {COORD_NAME_CHARS_MAX} of A-Z a-z 0-9 . _ : @ + -)"
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Line = Annotated[str, Meta(max_length=COORD_DOING_CHARS_MAX)]
Count = Annotated[int, Meta(ge=1, le=COORD_AGENTS_MAX)]
Ordinal = Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]  # what every language can count exactly
Patience = Annotated[float, Meta(gt=0, le=COORD_WAIT_MAX_S)]
Poll = Annotated[float, Meta(ge=0, le=COORD_POLL_MAX_S)]
Milliseconds = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
RequestId = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)] | Annotated[str, Meta(max_length=128)]


class Command(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="do",
    tag=str.lower,
    gc=False,  # a tree: there is nothing to collect
):
    """A request; `id` comes back in its answer."""

    id: RequestId | None = None
    subject: ClassVar[str] = ""
    """The field that names what the command is about."""

    def __str__(self) -> str:
        verb, subject = self.__struct_config__.tag, self.subject
        return f"{verb} {getattr(self, subject)}" if subject else f"{verb}"


class Once(Command, frozen=True, kw_only=True):
    """A request that must not happen twice.

    `once` names it for the life of its agent: a repeat with the same name gets the same answer.
    """

    once: Name | None = None


class Join(Command, frozen=True, kw_only=True):
    """Become an agent of a run; the newest connection of a name is the agent."""

    subject = "run"
    run: Name
    agent: Name
    role: Literal["agent", "observer"] = "agent"
    lease_s: Annotated[float, Meta(ge=0, le=COORD_LEASE_MAX_S)] = COORD_LEASE_S
    size: Count | None = None
    """How many agents the run will ever have: whoever is missing then can be known."""
    is_concurrent: bool = False
    """It does other things while it waits, so it is never part of a deadlock."""
    doing: Line = ""
    began_ms: Milliseconds | None = None
    """Come back to the run that began then, or to none."""


class Leave(Command, frozen=True, kw_only=True):
    """Say goodbye: nobody waits for this agent any more."""


class Beat(Command, frozen=True, kw_only=True):
    """Be alive, say what is being done, and let the clocks be compared."""

    doing: Line | None = None
    sent_ms: Milliseconds | None = None
    """The agent's clock now."""
    told_ms: Milliseconds | None = None
    """`now_ms` of the last answer to a beat ..."""
    heard_ms: Milliseconds | None = None
    """... and the agent's clock when that answer came."""


class Wait(Once, frozen=True, kw_only=True):
    """Wait at a barrier. How many and who must be agreed on; the first who comes sets the rest."""

    subject = "barrier"
    barrier: Name
    target: Count | None = None
    roster: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=COORD_AGENTS_MAX)] | None = (
        None
    )
    quorum: Count | None = None
    timeout_s: Patience = COORD_WAIT_S
    lead_ms: Annotated[int, Meta(ge=0, le=COORD_LEAD_MAX_MS)] = COORD_LEAD_MS
    generation: Ordinal | None = None
    poll_s: Poll | None = None
    """Answer `Waiting` after so long; the place is kept, and the agent asks again."""


class Cancel(Once, frozen=True, kw_only=True):
    """Send away everybody who waits at a barrier."""

    subject = "barrier"
    barrier: Name
    reason: Line = ""


class Raise(Once, frozen=True, kw_only=True):
    """Count a signal up by one."""

    subject = "signal"
    signal: Name


class Await(Command, frozen=True, kw_only=True):
    """Wait until a signal was raised so often."""

    subject = "signal"
    signal: Name
    count: Ordinal = 1
    timeout_s: Patience = COORD_WAIT_S


class Publish(Once, frozen=True, kw_only=True):
    """Append an event to a topic."""

    subject = "topic"
    topic: Name
    data: msgspec.Raw


class Read(Command, frozen=True, kw_only=True):
    """Read a topic from an offset; wait a while when there is nothing yet."""

    subject = "topic"
    topic: Name
    offset: Ordinal = 1
    wait_s: Poll = 0


class Subscribe(Command, frozen=True, kw_only=True):
    """Read a topic from an offset, and be told of all that follows."""

    subject = "topic"
    topic: Name
    offset: Ordinal | None = None
    """None begins with the next event."""


class Unsubscribe(Command, frozen=True, kw_only=True):
    """Be told of a topic no more."""

    subject = "topic"
    topic: Name


class Put(Once, frozen=True, kw_only=True):
    """Write a key; with `if_version` only when that is its version (0: when it is not there)."""

    subject = "key"
    key: Name
    value: msgspec.Raw
    if_version: Annotated[int, Meta(ge=0, le=(1 << 53) - 1)] | None = None


class Get(Command, frozen=True, kw_only=True):
    """Read a key."""

    subject = "key"
    key: Name


class Delete(Once, frozen=True, kw_only=True):
    """Remove a key."""

    subject = "key"
    key: Name
    if_version: Ordinal | None = None


class Watch(Command, frozen=True, kw_only=True):
    """Read a key, and be told of every change."""

    subject = "key"
    key: Name


class Unwatch(Command, frozen=True, kw_only=True):
    """Be told of a key no more."""

    subject = "key"
    key: Name


class Abandon(Command, frozen=True, kw_only=True):
    """Wait no more for the answer to a request; at a barrier the place is given up."""

    request: RequestId


class Look(Command, frozen=True, kw_only=True):
    """A request that may wait for something newer than the version that was seen."""

    after: Annotated[int, Meta(ge=0, le=(1 << 53) - 1)] | None = None
    wait_s: Poll = 0


class List(Look, frozen=True, kw_only=True):
    """List all runs."""


class Inspect(Look, frozen=True, kw_only=True):
    """Describe a run: who is there, who waits for whom."""

    subject = "run"
    run: Name


class Drop(Command, frozen=True, kw_only=True):
    """Delete a run and all that is in it; its agents are sent away."""

    subject = "run"
    run: Name


AnyCommand = (
    Join
    | Leave
    | Beat
    | Wait
    | Cancel
    | Raise
    | Await
    | Publish
    | Read
    | Subscribe
    | Unsubscribe
    | Put
    | Get
    | Delete
    | Watch
    | Unwatch
    | Abandon
    | List
    | Inspect
    | Drop
)
