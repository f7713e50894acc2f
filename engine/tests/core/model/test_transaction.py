"""The tag of a transaction tells commits apart that ended at the same position.

Method: transactions that differ in one fact.
"""

from __future__ import annotations

import pytest

from tidewire.core.model.lsn import Lsn, Xid
from tidewire.core.model.transaction import Transaction


def transaction(*, lsn: int = 9, xid: int = 0x1F, at: int = 0xABC) -> Transaction:
    return Transaction(Lsn(lsn), Xid(xid), at, (), size=0, rows=0)


def test_the_tag_names_time_and_xid_in_hexadecimal() -> None:
    assert transaction().tag == "abc-1f"


@pytest.mark.parametrize("other", [transaction(xid=0x20), transaction(at=0xABD)])
def test_another_commit_at_the_same_position_has_another_tag(other: Transaction) -> None:
    assert other.lsn == transaction().lsn
    assert other.tag != transaction().tag


def test_the_halves_of_a_tag_cannot_be_mistaken_for_one_another() -> None:
    assert transaction(at=0x1, xid=0x23).tag != transaction(at=0x12, xid=0x3).tag


def test_a_transaction_is_in_memory_unless_it_says_otherwise() -> None:
    assert not transaction().is_spooled


def test_nobody_alters_a_transaction_of_the_log() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        transaction().lsn = Lsn(1)  # type: ignore[misc]
