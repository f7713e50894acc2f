"""What the coordinator counts of old clients, at both of their ports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tidelab.coordinator.metrics import Family, counter, counters, gauge


@dataclass(slots=True)
class Tally:
    """What has been since the start."""

    refused: Counter[int]
    """Requests, handshakes and messages that were answered with an error, by its code."""
    data_writes: int = 0


def families(now: Mapping[str, int], tally: Tally) -> list[Family]:
    """Count what is there, and what has been since the start."""
    of = "tidelab_testsync"
    return [
        gauge(f"{of}_agents", now["agents"], "Agents that are connected."),
        gauge(f"{of}_tests", now["tests"], "Tests that agents have connected to."),
        gauge(f"{of}_checkpoints", now["checkpoints"], "Checkpoints that are remembered."),
        counter(f"{of}_data_writes", tally.data_writes, "Times that data of a test were stored."),
        counters(f"{of}_refused", "code", tally.refused,
                 "Requests, handshakes and messages that were answered with an error."),
    ]  # fmt: skip
