"""What the coordinator counts of `/v2`."""

from __future__ import annotations

from tidelab.coordinator.keeper import Keeper
from tidelab.coordinator.metrics import Family, counter, counters, gauge


def families(keeper: Keeper) -> list[Family]:
    """Count what is there, and what has been since the start."""
    now, of = keeper.core.counts(), "tidelab_coordinator"
    return [
        gauge(f"{of}_runs", now["runs"], "Runs that are known."),
        gauge(f"{of}_connections", now["connections"], "Sockets that are open."),
        gauge(f"{of}_agents", now["agents"], "Agents that are present, in all runs."),
        gauge(f"{of}_barriers_waiting", now["barriers_waiting"], "Barriers where somebody waits."),
        gauge(f"{of}_alarms", now["alarms"], "Leases and timeouts that are running."),
        gauge(f"{of}_pending", keeper.pending, "Answers that wait for the disk."),
        counter(f"{of}_commands", keeper.commands, "Commands that were taken."),
        counter(f"{of}_messages", keeper.messages, "Answers and events that were sent."),
        counter(f"{of}_commits", keeper.commits, "Transactions of the storage."),
        counter(f"{of}_writes", keeper.writes, "Records that were written."),
        counter(f"{of}_commit_seconds", keeper.commit_s, "Time spent in transactions."),
        counters(f"{of}_meetings_ended", "how", keeper.core.ended(),
                 "Meetings at barriers that have ended."),
        counters(f"{of}_refused", "code", keeper.refused,
                 "Requests that were answered with an error."),
    ]  # fmt: skip
