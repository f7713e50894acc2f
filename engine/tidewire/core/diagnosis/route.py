"""Does what we need come through to the server?"""

from __future__ import annotations

from collections.abc import Iterator

from tidewire import limits
from tidewire.core.diagnosis.facts import Facts
from tidewire.core.diagnosis.finding import Finding, note, ok, problem, warning
from tidewire.core.diagnosis.settings import more_walsenders


def judge_route(facts: Facts) -> Iterator[Finding]:
    """Judge the connections that were tried."""
    yield _pooler(facts)
    yield _replication(facts)
    if facts.route.wal_sender_timeout_ms is not None:
        yield _timeout(facts.route.wal_sender_timeout_ms)


def _pooler(facts: Facts) -> Finding:
    if not facts.route.is_pooled:
        return ok("pooler", "PostgreSQL answers by itself")
    return warning(
        "pooler",
        "something stands between us and PostgreSQL, such as PgBouncer: it may give our "
        "connection to others, and with it our locks and settings",
        note("name PostgreSQL's own host and port in the database URL"),
    )


def _replication(facts: Facts) -> Finding:
    refusal = facts.route.refusal
    if refusal is None:
        return ok("replication", "a replication connection can be opened")
    settings, server = facts.settings, facts.server
    remedy = [
        note("name PostgreSQL's own host and port in the database URL; pg_hba.conf must have:"),
        note(_pg_hba_line(facts)),
        "SELECT pg_reload_conf();",
    ]
    if settings.walsenders_used >= settings.walsenders_max:
        remedy = more_walsenders(settings)
    if not server.may_replicate:
        remedy = [f"ALTER ROLE {server.role} REPLICATION;"]
    return problem("replication", f"no replication connection: {refusal}", *remedy)


def _pg_hba_line(facts: Facts) -> str:
    # Logical replication is matched by the database's own name, not by `replication`.
    server, address = facts.server, facts.route.client_address
    if address is None:
        return f"local {server.database} {server.role} scram-sha-256"
    bits = 128 if ":" in address else 32
    return f"host {server.database} {server.role} {address}/{bits} scram-sha-256"


def _timeout(timeout_ms: int) -> Finding:
    wanted_ms = limits.WAL_SENDER_TIMEOUT_MS
    if timeout_ms == wanted_ms:
        return ok("wal_sender_timeout", f"a server that froze loses the slot in {wanted_ms} ms")
    return warning(
        "wal_sender_timeout",
        f"wal_sender_timeout is {timeout_ms} ms in our own connection, which asked for "
        f"{wanted_ms} ms: something on the way takes our settings away",
        note("name PostgreSQL's own host and port in the database URL"),
    )
