"""The messages of the protocol as values; `protocol/PROTOCOL.md` says what they mean.

Unknown fields are ignored, so that a later version may add some.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from tidewire import limits

Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.NAME_CHARS)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
LsnText: TypeAlias = Annotated[str, msgspec.Meta(max_length=17)]
Key: TypeAlias = list[object]


class Frame(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True):
    """Any message; on the wire `type` names which."""


Mode: TypeAlias = Literal["initial", "catchup", "live"]
Parameter: TypeAlias = str | int | float | bool | None


class From(msgspec.Struct, frozen=True):
    """Where a client left off: the cursor of its live shapes."""

    epoch: Name
    lsn: LsnText
    tag: Annotated[str, msgspec.Meta(max_length=limits.NAME_CHARS)]


class Resume(msgspec.Struct, frozen=True):
    """Where a client left off in a copy: it has all chunks below this one."""

    copy: Name
    chunk: Count


class ShapeRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One shape that a client asks for, under an id of its own choice."""

    id: Name
    table: Name
    columns: Annotated[list[Name], msgspec.Meta(max_length=limits.COLUMNS)] | None = None
    where: Annotated[str, msgspec.Meta(max_length=limits.WHERE_CHARS)] | None = None
    params: Annotated[list[Parameter], msgspec.Meta(max_length=limits.PARAMS)] | None = None
    initial: bool = True
    """Send the rows that the table has first; without: only what is committed from now on."""
    start: From | None = msgspec.field(name="from", default=None)
    fingerprint: Annotated[str, msgspec.Meta(max_length=limits.NAME_CHARS)] = ""
    """Of the table that the client's rows fit: without it nothing goes on `from` a position."""
    resume: Resume | None = None


# --- client to server ---


class Hello(Frame, frozen=True, tag="hello"):
    """Open the session: the first message of a client."""

    client: Name
    token: str | None = None


class Subscribe(Frame, frozen=True, tag="subscribe"):
    """Ask for shapes; those of one message become live together."""

    shapes: Annotated[
        list[ShapeRequest], msgspec.Meta(min_length=1, max_length=limits.SHAPES_PER_SESSION)
    ]


class Unsubscribe(Frame, frozen=True, tag="unsubscribe"):
    """Give up one subscription."""

    id: Name


class Ack(Frame, frozen=True, tag="ack"):
    """Tell how many counted messages this connection has received in all."""

    n: Count


class Wait(Frame, frozen=True, tag="wait"):
    """Ask for `up_to_date` as soon as everything up to a position has been sent."""

    lsn: LsnText


class Ping(Frame, frozen=True, tag="ping"):
    """Ask for a sign of life."""

    t: Count = 0


ClientFrame: TypeAlias = Hello | Subscribe | Unsubscribe | Ack | Wait | Ping

# --- server to client ---


class Welcome(Frame, frozen=True, tag="welcome"):
    """Accept the session."""

    session: str
    epoch: str
    lsn: LsnText
    heartbeat_s: float
    limits: dict[str, int]


class Subscribed(Frame, frozen=True, tag="subscribed"):
    """Accept one shape: its server-wide name, key and columns as [name, type]."""

    id: str
    shape: str
    table: str
    key: list[str]
    columns: list[tuple[str, str]]
    mode: Mode
    fingerprint: str = ""


class Snapshot(Frame, frozen=True, tag="snapshot"):
    """Carry one chunk of the rows that a table has (counted); chunk 0 begins anew."""

    shape: str
    copy: str
    chunk: int
    rows: list[list[object]]
    last: bool = False


class Part(msgspec.Struct, frozen=True):
    """What one transaction did to one shape."""

    shape: str
    changes: list[list[object]]


class Commit(Frame, frozen=True, tag="commit"):
    """Carry one transaction, or one part of a very large one (counted)."""

    lsn: LsnText
    at: int
    xid: int
    tag: str
    parts: list[Part]
    part: int | None = None
    last: bool | None = None
    stage: bool = False
    """For subscriptions that are not live yet: it does not move the cursor."""


class UpToDate(Frame, frozen=True, tag="up_to_date"):
    """Tell that every commit that ends at or below the position has been sent.

    The subscriptions in `live` become visible with it: what was staged for them is their state.
    """

    lsn: LsnText
    tag: str
    live: list[str] = []


class Reset(Frame, frozen=True, tag="reset"):
    """Tell to forget the rows of one shape, or of all, and why."""

    reason: str
    epoch: str
    shape: str | None = None


class Error(Frame, frozen=True, tag="error"):
    """Refuse a message; `ref` is the id that it was about, if it had one."""

    code: str
    text: str
    ref: str | None = None


class Pong(Frame, frozen=True, tag="pong"):
    """Answer a ping."""

    t: int


ServerFrame: TypeAlias = Welcome | Subscribed | Snapshot | Commit | UpToDate | Reset | Error | Pong
