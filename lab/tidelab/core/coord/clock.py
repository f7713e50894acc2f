"""How far an agent's clock is from ours, as NTP measures it.

::

    server   T1 ----- answer to a beat -----.              .----- T4
                                             \\            /
    agent                                     T2 ....... T3  next beat carries T1, T2 and T3

The one rule: of the last few samples the one with the shortest way counts, because whatever made a
way longer made it longer on one side only.
"""

from __future__ import annotations

from typing import NamedTuple

from tidelab.limits import COORD_CLOCK_SAMPLES

_ROUNDED_MS = (
    2.0  # times are told in whole milliseconds, so a short way may look like none, or less
)


class Sample(NamedTuple):
    """One comparison: `agent = server + offset`, wrong by half of the way at most."""

    way_ms: float
    offset_ms: float


class Clock:
    """The clock of one agent."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: tuple[Sample, ...] = ()

    def compare(self, told_ms: float, heard_ms: float, sent_ms: float, now_ms: float) -> None:
        """Take the four times of one exchange; times that cannot be are ignored."""
        way = (now_ms - told_ms) - (sent_ms - heard_ms)
        if told_ms <= now_ms + _ROUNDED_MS and heard_ms <= sent_ms and way >= -_ROUNDED_MS:
            offset = ((heard_ms - told_ms) + (sent_ms - now_ms)) / 2
            sample = Sample(max(way, _ROUNDED_MS), offset)
            self._samples = (*self._samples, sample)[-COORD_CLOCK_SAMPLES:]

    @property
    def best(self) -> Sample | None:
        """Return the sample to believe."""
        return min(self._samples, default=None)

    def local(self, server_ms: int) -> int | None:
        """Say a time of the server on the agent's clock."""
        if not self._samples:
            return None
        return round(server_ms + min(self._samples).offset_ms)
