"""What the coordinator counts, in the text form of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from tidelab.coordinator.keeper import Keeper

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(keeper: Keeper) -> bytes:
    """Write all numbers."""
    now = keeper.core.counts()
    gauges: dict[str, tuple[float, str]] = {
        "runs": (now["runs"], "Runs that are known."),
        "connections": (now["connections"], "Sockets that are open."),
        "agents": (now["agents"], "Agents that are present, in all runs."),
        "barriers_waiting": (now["barriers_waiting"], "Barriers where somebody waits."),
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
    families: list[tuple[str, str, str, Mapping[str, float]]] = [
        *((name, "gauge", text, {"": value}) for name, (value, text) in gauges.items()),
        *((f"{name}_total", "counter", text, {"": value})
          for name, (value, text) in counters.items()),
        ("meetings_ended_total", "counter", "Meetings at barriers that have ended.",
         _labelled("how", keeper.core.ended())),
        ("refused_total", "counter", "Requests that were answered with an error.",
         _labelled("code", keeper.refused)),
    ]  # fmt: skip
    lines = []
    for name, kind, text, values in families:
        name = f"tidelab_coordinator_{name}"
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value!r}" for labels, value in values.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _labelled(label: str, counts: Mapping[str, int]) -> dict[str, float]:
    return {f'{{{label}="{name}"}}': count for name, count in sorted(counts.items())}
