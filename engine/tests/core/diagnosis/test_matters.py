"""Goal: the list of matters is what machines and readers know it to be."""

from __future__ import annotations

from tidewire.core.diagnosis.matters import MATTERS


def test_each_matter_is_explained_by_sentences() -> None:
    for matter in MATTERS.values():
        assert matter.right.endswith(".")
        assert matter.remedy


def test_ids_are_for_machines_and_stay() -> None:
    assert " ".join(MATTERS) == (
        "version wal_level role_replication database_create standby encoding pooler "
        "replication wal_sender_timeout slots walsenders connections slot_wal slot_idle "
        "slot_moves synchronous_standbys failover sessions_seen publication slot transaction "
        "prepared table_missing table table_rights table_owner table_publication "
        "table_partitions table_conditions"
    )
