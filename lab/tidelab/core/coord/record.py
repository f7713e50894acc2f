"""What outlives the process: small records, each under its place.

::

    kind      name             number      content
    run                                    size, last use, newest version, beginning
    outcome   barrier          generation  how it ended, and for whom
    cursor    barrier agent                up to where an agent has been told
    signal    signal                       how often it was raised
    event     topic            offset      the event, as it was written
    key       key                          version and value
    answer    agent            count       an answer, for a repeat

Who waits and who is present is not kept: agents come back and ask again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

import msgspec

from tidelab.core.coord.answer import Fault

Kind: TypeAlias = Literal["run", "outcome", "cursor", "signal", "event", "key", "answer"]


KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which they are taken back: a cursor goes beyond what its outcome says."""


class Record(NamedTuple):
    """One record and its place; without content it is removed."""

    run: str
    kind: Kind
    name: str
    number: int
    content: bytes | None


class Forget(NamedTuple):
    """Remove all records of a run."""

    run: str


Write: TypeAlias = Record | Forget


class RunContent(msgspec.Struct, frozen=True):
    """A run."""

    size: int | None
    used: float
    version: int
    began_ms: int = 0
    """0 in a file that is older than this field: it says as much from one start to the next."""


class Outcome(msgspec.Struct, frozen=True):
    """How one generation of a barrier ended: with a start, or with a fault."""

    generation: int
    start_at_ms: int
    """When all start; of a fault, when it was."""
    arrived: tuple[str, ...]
    """In the order of their ranks."""
    onces: tuple[str | None, ...]
    """Of those who arrived, the names under which each may ask again, as in its cursor."""
    untold: tuple[str, ...]
    """Those who arrived, and had no open request when it ended."""
    fault: Fault | None = None


class Cursor(msgspec.Struct, frozen=True, gc=False):
    """Up to where an agent has come at a barrier, and whether it was told how that ended."""

    generation: int
    once: str | None
    """Names of its requests, with spaces between: it may have asked more than once."""
    is_told: bool


class SignalContent(msgspec.Struct, frozen=True):
    """A signal."""

    count: int


class KeyContent(msgspec.Struct, frozen=True):
    """A key; the value is JSON, as it was written."""

    version: int
    value: msgspec.Raw


class AnswerContent(msgspec.Struct, frozen=True):
    """An answer to one request."""

    once: str
    command: str
    answer: msgspec.Raw
    digest: str = ""
    """Of all that was asked for; none in a file that is older than this field."""
