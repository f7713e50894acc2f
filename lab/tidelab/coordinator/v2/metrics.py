"""What the coordinator counts, in the text form of Prometheus."""

from __future__ import annotations

from tidelab.coordinator.keeper import Keeper

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(keeper: Keeper) -> bytes:
    """Write all numbers."""
    now = keeper.core.counts()
    gauges: dict[str, tuple[float, str]] = {
        "runs": (now["runs"], "Runs that are known."),
        "connections": (now["connections"], "Sockets that are open."),
        "agents": (now["agents"], "Agents that are present, in all runs."),
        "alarms": (now["alarms"], "Leases and timeouts that are running."),
        "pending": (keeper.pending, "Answers that wait for the disk."),
    }
    counters: dict[str, tuple[float, str]] = {
        "commands": (keeper.commands, "Commands that were taken."),
        "messages": (keeper.messages, "Answers and events that were sent."),
        "commits": (keeper.commits, "Transactions of the storage."),
        "writes": (keeper.writes, "Records that were written."),
        "commit_seconds": (keeper.commit_s, "Time spent in transactions."),
    }
    lines = []
    for name, (value, text) in gauges.items():
        lines += _family(f"tidelab_coordinator_{name}", "gauge", value, text)
    for name, (value, text) in counters.items():
        lines += _family(f"tidelab_coordinator_{name}_total", "counter", value, text)
    return "".join(f"{line}\n" for line in lines).encode()


def _family(name: str, kind: str, value: float, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value!r}"]
