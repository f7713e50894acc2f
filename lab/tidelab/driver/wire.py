"""Frames of the Tidewire protocol as they come, and one subscription that they are about.

The one rule: what is read here is what the protocol's text says, form by form; anything else is an
error of the server, told by name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec

from tidelab.core.driver import Wanted
from tidelab.core.history.event import Clear, Patch, Put, Rekey, Remove, RowChange, Values
from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Key
from tidelab.core.history.value import JsonValue, text_of
from tidelab.errors import WireError

Json = dict[str, object]
Steps = list[tuple[RowChange, ...]]


class WirePart(msgspec.Struct):
    """What a commit means for one shape."""

    shape: str
    changes: list[list[object]]


class WireFrame(msgspec.Struct):
    """Any frame of the server; each type fills some of the fields."""

    type: str
    id: str = ""
    shape: str | None = None
    epoch: str = ""
    lsn: str = "0/0"
    tag: str = ""
    limits: dict[str, object] = {}
    key: list[str] = []
    columns: list[tuple[str, str]] = []
    mode: str = ""
    fingerprint: str = ""
    copy: str = ""
    chunk: int = 0
    rows: list[list[object]] = []
    last: bool | None = None
    parts: list[WirePart] = []
    part: int | None = None
    stage: bool = False
    live: list[str] = []
    reason: str = ""
    code: str = ""
    text: str = ""
    ref: str | None = None


class Phase(enum.Enum):
    """How far a subscription is, on this connection."""

    ASKED = "asked"
    COPYING = "copying"
    STAGED = "staged"
    TAIL = "tail"
    LIVE = "live"


@dataclass(slots=True)
class Subscription:
    """One subscription, and what of it survives a cut."""

    wanted: Wanted
    request: Json
    phase: Phase = Phase.ASKED
    has_position: bool = False
    """What was received of it is complete up to the session's cursor."""
    shape: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    key: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ""
    """Of the table that the rows fit: the server wants to see it before it goes on."""
    copy: str | None = None
    chunks: int = 0
    is_whole: bool = False
    staged_at: Lsn | None = None
    staged: Steps = field(default_factory=list)
    """The last staged commit: more of it may come."""

    def read_row(self, row: Sequence[object]) -> Values:
        """Name the values of a whole row."""
        if len(row) != len(self.columns):
            raise WireError(f"a row has {len(row)} values, expected {len(self.columns)}")
        pairs = zip(self.columns, row, strict=True)
        return {name: _text(type, value) for (name, type), value in pairs}

    def read_change(self, change: Sequence[object]) -> RowChange:
        """Read one change; raises WireError if it has none of the known forms."""
        match change:
            case ["i", list(row)]:
                return Put(self.read_row(row))
            case ["u", list(key), dict(values)]:
                return Patch(self._read_key(key), self._read_values(values))
            case ["k", list(old), list(key), dict(values)]:
                return Rekey(self._read_key(old), self._read_key(key), self._read_values(values))
            case ["d", list(key)]:
                return Remove(self._read_key(key))
            case ["t"]:
                return Clear()
            case _:
                raise WireError(f"unknown change {str(change)[:100]}")

    def _read_key(self, key: Sequence[object]) -> Key:
        if len(key) != len(self.key):
            raise WireError(f"a key has {len(key)} values, expected {len(self.key)}")
        return tuple(_text(type, value) for (_, type), value in zip(self.key, key, strict=True))

    def _read_values(self, values: Mapping[str, object]) -> Values:
        types = dict(self.columns)
        if unknown := [name for name in values if name not in types]:
            raise WireError(f"a change of column {unknown[0]!r}, which was not announced")
        return {name: _text(types[name], value) for name, value in values.items()}

    def go_live(self) -> None:
        """Stand at the session's cursor from now on."""
        self.phase, self.has_position = Phase.LIVE, True
        self.forget_copy()

    def forget_copy(self) -> None:
        """Forget what has come of a copy."""
        self.copy, self.chunks, self.is_whole = None, 0, False
        self.forget_staged()

    def forget_staged(self) -> None:
        """Forget the staged commit that was kept back."""
        self.staged_at, self.staged = None, []


_decoder = msgspec.json.Decoder(WireFrame)


def read_frame(frame: str | bytes) -> WireFrame:
    """Read a frame of the server; raises WireError."""
    try:
        return _decoder.decode(frame)
    except msgspec.MsgspecError as error:
        raise WireError(f"a frame of unknown form ({error}): {str(frame)[:200]}") from None


def _text(type: str, value: object) -> str | None:
    # What a JSON decoder returns is a JSON value; the decoder's own type cannot say so.
    return text_of(type, cast("JsonValue", value))
