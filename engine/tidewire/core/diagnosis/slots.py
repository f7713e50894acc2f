"""What keeps write-ahead log: slots that nobody reads, and transactions that nobody ends."""

from __future__ import annotations

from collections.abc import Iterator

from tidewire import limits
from tidewire.core.diagnosis.facts import Facts, Prepared, Settings, Slot, Transaction
from tidewire.core.diagnosis.finding import Finding, literal, note, ok, problem, warning
from tidewire.core.diagnosis.server import set_parameter
from tidewire.core.diagnosis.units import setting_of, size_of, time_of

_HARM = "no slot can be made and no table be published before it ends, and no write-ahead log goes"


def judge_slots(facts: Facts) -> Iterator[Finding]:
    """Judge the slots of all deployments and of the lab."""
    for slot in facts.slots:
        yield _slot(slot, facts.settings)
    if not any(slot.is_own for slot in facts.slots):
        text = f"deployment {facts.deployment} has no slot yet: the server makes it"
        yield ok("slot", text)


def judge_transactions(facts: Facts) -> Iterator[Finding]:
    """Judge the transactions that everything waits for."""
    patience_s = limits.OLDER_TRANSACTIONS_TIMEOUT_S
    old = [each for each in facts.transactions if each.age_s >= patience_s]
    forgotten = [each for each in facts.prepared if each.age_s >= patience_s]
    yield from (_transaction(each) for each in old)
    yield from (_prepared(each) for each in forgotten)
    if not old:
        yield ok("transaction", f"none has written and is open for {patience_s:.0f} s")
    if not forgotten:
        yield ok("prepared", f"none waits for {patience_s:.0f} s")


def _slot(slot: Slot, settings: Settings) -> Finding:
    drop = f"SELECT pg_drop_replication_slot({literal(slot.name)});"
    if slot.wal_status == "lost":
        text = "its write-ahead log is gone, so it is of no use"
        if slot.is_own:
            text += ": the server makes another one, and its clients start over"
        return warning("slot", text, drop, subject=slot.name)
    keeps = f"it keeps {size_of(slot.retained_bytes or 0)} of write-ahead log"
    if slot.wal_status == "unreserved":
        wanted = max(limits.SLOT_WAL_BYTES, 2 * (slot.retained_bytes or 0))
        return problem(
            "slot",
            f"{keeps}, more than it may: the next checkpoint makes it useless",
            *set_parameter(settings, "max_slot_wal_keep_size", setting_of(wanted)),
            subject=slot.name,
        )
    if slot.active_pid is not None:
        return ok("slot", f"in use by pid {slot.active_pid}; {keeps}", subject=slot.name)
    if slot.is_own and slot.is_bookmark:
        return ok("slot", f"a server has left it to wake from; {keeps}", subject=slot.name)
    if slot.is_own:
        return warning(
            "slot",
            f"the server does not run, or sleeps, and {keeps}, more with every write",
            note("start the server; or, if this deployment is not coming back:"),
            drop,
            subject=slot.name,
        )
    return warning(
        "slot",
        f"nobody reads it, and {keeps}, more with every write",
        note(f"unless somebody comes back for it (database {slot.database}):"),
        drop,
        subject=slot.name,
    )


def _transaction(transaction: Transaction) -> Finding:
    who = f"user {transaction.role}" if transaction.role else "a user that is not told"
    state = f" ({transaction.state})" if transaction.state else ""
    return warning(
        "transaction",
        f"{who} has written and is open for {time_of(transaction.age_s)}{state}: {_HARM}",
        f"SELECT pg_terminate_backend({transaction.pid});",
        subject=f"pid {transaction.pid}",
    )


def _prepared(prepared: Prepared) -> Finding:
    id = literal(prepared.id)
    return warning(
        "prepared",
        f"waits for {time_of(prepared.age_s)} for its second phase: {_HARM}",
        note(
            f"in database {prepared.database}; if it should count: COMMIT PREPARED {id}; or else:"
        ),
        f"ROLLBACK PREPARED {id};",
        subject=prepared.id,
    )
