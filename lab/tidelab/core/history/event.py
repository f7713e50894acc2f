"""What can be recorded: one closed list, in words that belong to no protocol.

The one rule: a client's events say what the *server* told it, in the order in which it was told,
whole transactions at a time. What follows from them is worked out by the checkers, not by a driver.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import Baseline, Committed, Fenced, Key

Values = dict[str, str | None]

# --- operations: what somebody tried, and how it ended ---


class Invoked(Struct, frozen=True, tag="invoke"):
    """Something was begun: a write, a fault, a subscription."""

    operation: int
    name: str
    detail: str = ""


class Succeeded(Struct, frozen=True, tag="ok"):
    """It was done; a write is acknowledged with its position."""

    operation: int
    lsn: Lsn | None = None


class Failed(Struct, frozen=True, tag="fail"):
    """It was certainly not done."""

    operation: int
    reason: str


class Unsure(Struct, frozen=True, tag="info"):
    """Nobody knows whether it was done: the answer was lost."""

    operation: int
    reason: str


Operation = Invoked | Succeeded | Failed | Unsure

# --- changes: what a commit does to the rows of one subscription, applied together ---


class Put(Struct, frozen=True, tag="put"):
    """A row that the client did not have."""

    row: Values


class Patch(Struct, frozen=True, tag="patch"):
    """New values in a row that the client has."""

    key: Key
    values: Values


class Rekey(Struct, frozen=True, tag="rekey"):
    """A row that the client has got another key."""

    old: Key
    key: Key
    values: Values


class Remove(Struct, frozen=True, tag="remove"):
    """A row is gone from what the client may see."""

    key: Key


class Clear(Struct, frozen=True, tag="clear"):
    """All rows are gone."""


RowChange = Put | Patch | Rekey | Remove | Clear


class Part(Struct, frozen=True):
    """What one commit means for one subscription."""

    id: str
    changes: tuple[RowChange, ...]


# --- what a client was told ---


class Connected(Struct, frozen=True, tag="connected"):
    """A connection is open."""


class Disconnected(Struct, frozen=True, tag="disconnected"):
    """The connection is over; `is_wanted` when the run, not the world, ended it."""

    reason: str = ""
    is_wanted: bool = False


class Subscribed(Struct, frozen=True, tag="subscribed"):
    """A shape was accepted: `copy` brings its rows, `resume` goes on, `tail` brings no old rows."""

    id: str
    shape: Shape
    mode: Literal["copy", "resume", "tail"]


class Unsubscribed(Struct, frozen=True, tag="unsubscribed"):
    """A subscription is over and its rows are forgotten."""

    id: str


class Copied(Struct, frozen=True, tag="copied"):
    """Rows of a copy, staged until the subscription is live; `begins` drops what is there."""

    id: str
    rows: tuple[Values, ...]
    begins: bool = False


class Received(Struct, frozen=True, tag="received"):
    """One whole commit for live subscriptions or, staged, for copies that are not live yet."""

    lsn: Lsn
    parts: tuple[Part, ...]
    is_staged: bool = False


class Claimed(Struct, frozen=True, tag="claimed"):
    """All that ends at or below `lsn` has been sent; the stages of `live` are to be shown now."""

    lsn: Lsn
    live: tuple[str, ...] = ()


class Reset(Struct, frozen=True, tag="reset"):
    """What the client has of a subscription (None: of all) is not continued."""

    reason: str
    id: str | None = None


ClientEvent = (
    Connected | Disconnected | Subscribed | Unsubscribed | Copied | Received | Claimed | Reset
)

# --- what the run itself says ---


class Settled(Struct, frozen=True, tag="settled"):
    """Faults are healed, writing is over, and every client had the agreed time to get to `lsn`."""

    lsn: Lsn


class Declared(Struct, frozen=True, tag="declared"):
    """An assertion exists: `always` must hold whenever it is met, `sometimes` at least once."""

    name: str
    kind: Literal["always", "sometimes"]


class Asserted(Struct, frozen=True, tag="asserted"):
    """An assertion was met."""

    name: str
    holds: bool
    detail: str = ""


RunEvent = Settled | Declared | Asserted

Event = Operation | ClientEvent | RunEvent | Baseline | Committed | Fenced
