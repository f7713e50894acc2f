"""What a coordinator refused becomes an error that can be read.

The one rule: whoever stands before a failed barrier wants to know who did not come, and why; so
each of those has a line of its own.
"""

from __future__ import annotations

import msgspec

from tidelab.core.coord.answer import Roll
from tidelab.errors import BarrierBroken, Conflict, Denied, SignalTimeout

_NAMES_SHOWN = 10  # in one line; the lists of the error hold more


class Denial(msgspec.Struct, frozen=True):
    """A fault as it is read: of a newer server it may have a code that is new."""

    code: str
    message: str
    roll: Roll | None = None
    version: int | None = None

    def error(self) -> Denied:
        """Make the error that the caller gets."""
        if self.roll is not None:
            return BarrierBroken(
                self.code,
                _told(self.message, self.roll),
                arrived=self.roll.arrived,
                missing=self.roll.missing,
                dead=self.roll.dead,
                doing=self.roll.doing,
            )
        if self.code == "conflict":
            return Conflict(self.message, self.version)
        if self.code == "timeout":
            return SignalTimeout(self.code, self.message)
        return Denied(self.code, self.message)


def _told(message: str, roll: Roll) -> str:
    """Tell a failed barrier: why, and then who."""
    here = f"{roll.arrived_count} of {roll.needed}"
    why, _, _ = message.partition(f"; {here} arrived")
    lines = [why, f"  arrived: {here}{_names(roll.arrived)}"]
    for word, names in (("missing", roll.missing), ("gone", roll.dead)):
        lines += [f"  {word}: {name} ({roll.doing.get(name, '?')})" for name in names]
    unknown = roll.missing_count - len(roll.missing) - len(roll.dead)
    if unknown > 0:
        lines.append(f"  missing: {unknown} more, never heard of")
    return "\n".join(lines)


def _names(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = len(names) - _NAMES_SHOWN
    return f" ({', '.join(names[:_NAMES_SHOWN])}{f' and {more} more' if more > 0 else ''})"
