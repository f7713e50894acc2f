"""What the messages of a server mean to a client: made by the session, taken by store and shell.

One rule: an event is whole. A commit that came in many frames is one `Committed`, so that whoever
applies it can do so in one step.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from tidewire.core.model.lsn import Lsn

Op: TypeAlias = Literal["insert", "update", "delete", "rekey", "truncate"]
Key: TypeAlias = tuple[object, ...]
Mode: TypeAlias = Literal["initial", "catchup", "live"]


class RowChange(NamedTuple):
    """What a commit did to one row: `values` are all columns of an insert, else the changed."""

    op: Op
    key: Key
    values: dict[str, object]
    old_key: Key | None = None


Step: TypeAlias = dict[str, list[RowChange]]
"""Changes by subscription that are applied together; at most one for each row."""


class Opened(NamedTuple):
    """The server accepted the session."""

    session: str
    epoch: str


class Joined(NamedTuple):
    """The server accepted a subscription: a copy follows (`initial`), or commits at once."""

    id: str
    table: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    mode: Mode
    fingerprint: str = ""
    """To be shown when the rows are continued on another connection."""


class Chunk(NamedTuple):
    """A piece of a copy, to be staged; number 0 takes the place of all that was staged before."""

    ids: tuple[str, ...]
    copy: str
    number: int
    rows: list[tuple[object, ...]]
    """Values in the order of the columns."""
    is_last: bool


class Committed(NamedTuple):
    """One transaction, whole; a staged one belongs on top of the staged rows."""

    lsn: Lsn
    at: int
    xid: int
    steps: tuple[Step, ...]
    """To be applied one after the other, and to be seen all at once."""
    is_staged: bool = False

    @property
    def changes(self) -> Step:
        """All changes by subscription, in the order in which they came."""
        if len(self.steps) == 1:
            return self.steps[0]
        found: Step = {}
        for step in self.steps:
            for id, changes in step.items():
                found.setdefault(id, []).extend(changes)
        return found


class Progressed(NamedTuple):
    """Everything that was committed up to here has been handed out.

    What is staged for the subscriptions `live` is their state at this position: show it.
    """

    lsn: Lsn
    live: tuple[str, ...] = ()


class WasReset(NamedTuple):
    """What these subscriptions have is not continued; the reason is a name of codes.json."""

    ids: tuple[str, ...]
    reason: str


class Refused(NamedTuple):
    """The server refused a message."""

    code: str
    text: str
    ref: str | None
    has_ended: bool = False
    """The subscription `ref` is not with the server (any more)."""


Event: TypeAlias = Opened | Joined | Chunk | Committed | Progressed | WasReset | Refused
