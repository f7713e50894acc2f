"""The life of one subscription at one client, from its first row until it ends.

The one rule: a span survives a reconnect that goes on where it was, and ends with a reset, with a
new copy, or when it is given up. While it is live, each position that the client claims is compared
with the oracle, digest with digest; rows are looked at only when they differ.

    begun   rows are copied, commits are staged beside them
    live    from the claim that names it: commits change the rows, positions are compared
            (detached from a cut until the server has said that it goes on)
    ended   nothing is added any more
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from tidelab.core.check.replica import Replica
from tidelab.core.history.event import (
    Clear,
    Copied,
    Patch,
    Put,
    Rekey,
    Remove,
    RowChange,
)
from tidelab.core.history.history import Record
from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Key, Row
from tidelab.core.oracle.oracle import Oracle
from tidelab.core.oracle.view import View
from tidelab.limits import DIFFERENCES_MAX


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one commit brought for one subscription."""

    record: Record
    lsn: Lsn
    changes: tuple[RowChange, ...]
    is_staged: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A position at which the client was told to be."""

    record: Record
    lsn: Lsn
    is_spoken: bool
    """Said by itself, as `up to date`, rather than implied by a commit."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How the rows of a client differ from the truth; of `changed` the client's row comes first."""

    missing: dict[Key, Row]
    extra: dict[Key, Row]
    changed: dict[Key, tuple[Row, Row]]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A claim at which the client's rows were not the truth."""

    claim: Claim
    difference: Difference
    right_at: Claim | None
    """The last claim at which they were."""
    is_join: bool
    """The claim is the one that made the copy visible."""


class Span:
    """Collect what a client was told about one subscription, and compare it with the oracle."""

    def __init__(self, client: str, id: str, view: View, begun: Record, *, has_rows: bool) -> None:
        self.client = client
        self.id = id
        self.view = view
        self.begun = begun
        self.has_rows = has_rows
        self.replica = Replica(view)
        self.copied: list[tuple[Record, Copied]] = []
        self.staged: list[Delivery] = []
        self.deliveries: list[Delivery] = []
        self.claims: list[Claim] = []
        self.doubled: list[tuple[Record, Key]] = []
        self.mismatches: list[Mismatch] = []
        self.compared = 0
        self.unjudged = 0
        self.live_since: Claim | None = None
        self.is_attached = True
        self._right_at: Claim | None = None

    @property
    def is_live(self) -> bool:
        """Tell whether the rows are shown."""
        return self.live_since is not None

    def copy(self, record: Record, event: Copied) -> None:
        """Take in rows of a copy."""
        if event.begins:
            self.replica.clear()
            self.copied.clear()
            self.staged.clear()
            self.doubled.clear()
        self.copied.append((record, event))
        self.doubled += [(record, key) for key in self.replica.copy_in(event.rows)]

    def stage(self, delivery: Delivery) -> None:
        """Keep a commit until the rows are shown."""
        self.staged.append(delivery)

    def detach(self) -> None:
        """Lose the connection: the rows stay, commits that are only staged are forgotten."""
        self.is_attached = False
        if not self.is_live:
            self.staged.clear()

    def show(self, claim: Claim) -> None:
        """Become live."""
        self.live_since = claim
        for delivery in self.staged:
            self._apply(delivery)

    def deliver(self, delivery: Delivery) -> None:
        """Apply a commit to the rows that are shown."""
        self.deliveries.append(delivery)
        self._apply(delivery)

    def claim(self, claim: Claim, oracle: Oracle) -> None:
        """Compare the rows with the truth at a position."""
        self.claims.append(claim)
        if not self.has_rows:
            return
        if not oracle.knows(claim.lsn):
            self.unjudged += 1
            return
        self.compared += 1
        if self.view.digest_at(claim.lsn) == self.replica.digest:
            self._right_at = claim
        elif len(self.mismatches) < DIFFERENCES_MAX:
            difference = differ(self.replica.rows, self.view.rows_at(claim.lsn))
            is_join = claim is self.live_since
            self.mismatches.append(Mismatch(claim, difference, self._right_at, is_join))

    def all_deliveries(self) -> Iterator[Delivery]:
        """Yield what was staged, then what came live."""
        yield from self.staged
        yield from self.deliveries

    def _apply(self, delivery: Delivery) -> None:
        keys = self.replica.apply(delivery.changes)
        self.doubled += [(delivery.record, key) for key in keys]


def differ(client: dict[Key, Row], truth: dict[Key, Row]) -> Difference:
    """Compare two sets of rows key by key."""
    return Difference(
        {key: row for key, row in truth.items() if key not in client},
        {key: row for key, row in client.items() if key not in truth},
        {key: (client[key], row) for key, row in truth.items() if client.get(key, row) != row},
    )


def keys_of(changes: Iterable[RowChange], view: View) -> tuple[set[Key], bool]:
    """Return the keys that changes are about, and whether they clear all rows."""
    keys: set[Key] = set()
    clears = False
    for change in changes:
        match change:
            case Put(row):
                keys.add(tuple(row.get(name) for name in view.table.key))
            case Patch(key) | Remove(key):
                keys.add(key)
            case Rekey(old, key):
                keys |= {old, key}
            case Clear():
                clears = True
            case _:
                assert_never(change)
    return keys, clears


def untold(delivery_changes: Iterable[RowChange], view: View, lsn: Lsn) -> set[Key]:
    """Return the keys that a commit changed in the view and that these changes do not mention."""
    effects = view.effects_at(lsn)
    keys, clears = keys_of(delivery_changes, view)
    return {
        key for key, (_, new) in effects.items() if key not in keys and not (clears and new is None)
    }
