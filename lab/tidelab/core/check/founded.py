"""Which resets had a reason that the run itself has given, and which broke a promise.

The one rule: nobody is reset while the log is kept. What founds a reset is listed here, each with
whom and when; everything else is unfounded:

    schema_changed   of anybody: a table's rows that the log cannot tell; the list of those that a
                     run gives rise to is short
    a theft          of what began before the theft was over, once, for the reasons it has
    lagged           of a client that lies so far behind that its log need not be kept
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from math import inf

from tidelab.core.history.event import (
    Claimed,
    Failed,
    Invoked,
    Received,
    Reset,
    Subscribed,
    Succeeded,
    Unsubscribed,
    Unsure,
)
from tidelab.core.history.history import History, Record
from tidelab.core.history.position import LSN_ZERO, Lsn
from tidelab.core.history.truth import Fenced

STEAL = "steal"
"""Name of the operation that a theft is; its detail says which."""


class Theft(enum.Enum):
    """How somebody takes from the server's slot."""

    DROP = "the slot is dropped"
    READ = "the slot is read"
    READ_WHILE_DOWN = "the slot is read while the server is down"


# A server that is up knows what it has read: to it the slot is another history. One that was down
# finds its slot further on, and knows no more than that: who is behind has fallen off the log, and
# who is just where it begins cannot be compared.
REASONS = {
    Theft.DROP: frozenset({"other_history"}),
    Theft.READ: frozenset({"other_history"}),
    Theft.READ_WHILE_DOWN: frozenset({"other_history", "lagged"}),
}


@dataclass(slots=True)
class _Stolen:
    operation: int
    reasons: frozenset[str]
    until: float = inf
    """When the server had found out."""


@dataclass(slots=True)
class _Told:
    """What one client was told last."""

    position: Lsn = LSN_ZERO
    begun: dict[str, int] = field(default_factory=dict)
    """When each subscription began anew."""


def unfounded(history: History, *, kept_bytes: int | None = None) -> list[tuple[Record, Reset]]:
    """Return the resets without a reason; `kept_bytes` of log are kept at least (None: all)."""
    thefts: list[_Stolen] = []
    told: dict[str, _Told] = {}
    found: list[tuple[Record, Reset]] = []
    ends = _ends(history)
    for record in history.records:
        client = told.setdefault(record.process, _Told())
        match record.event:
            case Invoked(operation, name, detail) if name == STEAL:
                thefts.append(_Stolen(operation, REASONS[Theft(detail)]))
            case Succeeded(operation) | Failed(operation) | Unsure(operation):
                for theft in thefts:
                    if theft.operation == operation:
                        theft.until = record.seq
            case Subscribed(id, _, "copy" | "tail"):
                client.begun[id] = record.seq
            case Unsubscribed(id):
                client.begun.pop(id, None)
            case Received(lsn, is_staged=False) | Claimed(lsn):
                client.position = lsn
            case Reset(reason, id) as reset:
                ids = client.begun if id is None else {id: client.begun.get(id, 0)}
                oldest = min(ids.values(), default=0)
                is_far = kept_bytes is not None and ends[record.seq] - client.position > kept_bytes
                is_founded = (
                    reason == "schema_changed"
                    or any(reason in each.reasons and oldest < each.until for each in thefts)
                    or (reason == "lagged" and is_far)
                )
                if not is_founded:
                    found.append((record, reset))
                client.begun |= dict.fromkeys(ids, record.seq)
            case _:
                pass
    return found


def _ends(history: History) -> list[Lsn]:
    """Return for each record how far the log reached when it was next looked at, or further."""
    ends: list[Lsn] = []
    end = LSN_ZERO
    for record in reversed(history.records):
        if isinstance(record.event, Fenced):
            end = record.event.lsn
        ends.append(end)
    ends.reverse()
    return ends
