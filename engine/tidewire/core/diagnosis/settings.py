"""Is there room for us, and does anything in the settings work against us?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tidewire import limits
from tidewire.core.diagnosis.facts import Facts, Settings, Slot
from tidewire.core.diagnosis.finding import Finding, literal, note, ok, problem, warning
from tidewire.core.diagnosis.server import set_parameter
from tidewire.core.diagnosis.units import setting_of, size_of, time_of

# A name in synchronous_standby_names, in quotes or not.
_NAME = re.compile(r'"(?:[^"]|"")+"|[^\s,()"]+')


def judge_settings(facts: Facts) -> Iterator[Finding]:
    """Judge the server's settings."""
    settings, own = facts.settings, [slot for slot in facts.slots if slot.is_own]
    yield _slots(settings, own)
    yield _walsenders(settings, own)
    yield _connections(settings, own)
    yield _slot_wal(settings)
    yield _slot_idle(settings)
    yield _slot_moves(settings, facts.server.role)
    yield _synchronous_standbys(settings)
    if settings.standbys:
        yield _failover(settings.standbys)
    yield _sessions_seen(settings, facts.server.role)


def more_walsenders(settings: Settings) -> list[str]:
    """Say how to make room for our replication connection."""
    wanted = str(max(settings.walsenders_max, settings.walsenders_used) + 5)
    return set_parameter(settings, "max_wal_senders", wanted, restart=True)


def _slots(settings: Settings, own: Sequence[Slot]) -> Finding:
    used = f"{settings.slots_used} of {settings.slots_max} are in use"
    if own or settings.slots_used < settings.slots_max:
        return ok("slots", used)
    wanted = str(settings.slots_max + 5)
    remedy = set_parameter(settings, "max_replication_slots", wanted, restart=True)
    return problem("slots", f"no replication slot is free: {used}", *remedy)


def _walsenders(settings: Settings, own: Sequence[Slot]) -> Finding:
    used = f"{settings.walsenders_used} of {settings.walsenders_max} are in use"
    if settings.walsenders_used < settings.walsenders_max or _is_served(own):
        return ok("walsenders", used)
    return problem("walsenders", f"no walsender is free: {used}", *more_walsenders(settings))


def _connections(settings: Settings, own: Sequence[Slot]) -> Finding:
    left = settings.connections_max - settings.connections_used
    used = f"{settings.connections_used} of {settings.connections_max} are in use"
    wanted = limits.COPIES_AT_ONCE + 1
    if left >= wanted or _is_served(own):
        return ok("connections", used)
    return warning(
        "connections",
        f"{left} connections are left, {wanted} may be needed: {used}",
        *set_parameter(
            settings, "max_connections", str(settings.connections_max + 20), restart=True
        ),
    )


def _is_served(own: Sequence[Slot]) -> bool:
    return any(slot.active_pid for slot in own)


def _slot_wal(settings: Settings) -> Finding:
    kept = settings.slot_wal_bytes
    # The slot trails by the log, and other tables write, too.
    if kept is not None and kept >= limits.LOG_BYTES * 4:
        return ok("slot_wal", f"a slot may keep {size_of(kept)} of write-ahead log")
    text = f"a slot may keep only {size_of(kept or 0)}, and is lost in a busy hour"
    if kept is None:
        text = "a slot may keep write-ahead log until the disk is full"
    return warning(
        "slot_wal",
        text,
        note("or another size that the disk can spare"),
        *set_parameter(settings, "max_slot_wal_keep_size", setting_of(limits.SLOT_WAL_BYTES)),
    )


def _slot_idle(settings: Settings) -> Finding:
    idle_s = settings.idle_slot_s
    if idle_s is None:
        return ok("slot_idle", "a slot is not given up for being idle")
    if idle_s >= limits.SLOT_IDLE_S:
        return ok("slot_idle", f"a slot may be idle for {time_of(idle_s)}")
    recommended = literal(f"{limits.SLOT_IDLE_S:.0f}s")
    return warning(
        "slot_idle",
        f"a slot that is idle for {time_of(idle_s)} is lost: a server that is stopped for so long "
        "starts over, and all clients with it",
        *set_parameter(settings, "idle_replication_slot_timeout", recommended),
    )


def _slot_moves(settings: Settings, role: str) -> Finding:
    if settings.may_log_snapshot is None:
        return ok("slot_moves", "the server moves slots at its own pace: nobody can ask it to")
    if settings.may_log_snapshot:
        return ok("slot_moves", "a slot that keeps too much can be moved at once")
    return warning(
        "slot_moves",
        f"role {role} may not ask for a snapshot that a slot moves over: where much is written, "
        "the slot keeps more log than it needs, and may be given up for it",
        note("each database has its own rights: execute it in this one"),
        f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_log_standby_snapshot() TO {role};",
    )


def _synchronous_standbys(settings: Settings) -> Finding:
    names = settings.synchronous_standby_names
    listed = {_bare(name) for name in _NAME.findall(names)}
    if "*" in listed:
        remedy = _without_star(settings)
    elif settings.application_name.lower() in listed:
        remedy = [note("add application_name=another_name to the database URL")]
    else:
        return ok("synchronous_standbys", "no commit waits for Tidewire")
    return warning(
        "synchronous_standbys",
        f"synchronous_standby_names = {literal(names)} makes Tidewire a standby: commits of the "
        "application wait for it, and when it was restarted clients start over",
        *remedy,
    )


def _bare(name: str) -> str:
    return name.removeprefix('"').removesuffix('"').replace('""', '"').lower()


def _without_star(settings: Settings) -> list[str]:
    if not settings.standbys:
        return [
            note("no standby is connected now; else list their names"),
            *set_parameter(settings, "synchronous_standby_names", "''"),
        ]
    listed = ", ".join('"' + name.replace('"', '""') + '"' for name in settings.standbys)
    names = _NAME.sub(
        lambda name: listed if _bare(name[0]) == "*" else name[0],
        settings.synchronous_standby_names,
    )
    return set_parameter(settings, "synchronous_standby_names", literal(names))


def _failover(standbys: Sequence[str]) -> Finding:
    # A promoted standby is another timeline, and so another epoch: a slot that was synchronised to
    # it (PostgreSQL 17) would not spare clients the copy, and so none is recommended.
    names = ", ".join(sorted(standbys))
    text = f"standbys are connected ({names}): after a failover clients copy their rows again"
    return ok("failover", text)


def _sessions_seen(settings: Settings, role: str) -> Finding:
    if settings.sees_others:
        return ok("sessions_seen", f"role {role} is told what other sessions do")
    text = f"role {role} is not told what other sessions do: who holds things up stays unknown"
    return warning("sessions_seen", text, f"GRANT pg_read_all_stats TO {role};")
