"""Copies wait for a place as long as it takes, and for the database only so long.

Method: the real hub without a database; `Table` plays the snapshots, and is as slow as it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.tests.core.bench import FLOOR, NOTES, TASKS, Node
from engine.tests.integration.live import in_loop
from tidewire import limits
from tidewire.core.shape.shape import ShapeSpec
from tidewire.core.stream.splice import Snapshot
from tidewire.errors import DatabaseGone
from tidewire.snapshots import Snapshots


class Table:
    """A snapshot of one row, that is read when `may_end` is set."""

    snapshot = Snapshot(1, 1)
    until = FLOOR

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def open(self, spec: ShapeSpec) -> Table:
        """Take the snapshot."""
        return self

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the row."""
        await self.may_end.wait()
        yield b"[1]"

    async def close(self) -> None:
        """Do nothing."""


@in_loop
async def test_large_tables_are_copied_and_a_small_one_waits_behind_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "COPIES_AT_ONCE", 1)
    monkeypatch.setattr(limits, "COPY_RETRY_S", 0.05)
    node, table = Node(), Table()
    node.join(node.open(), NOTES, TASKS, initial=True)
    snapshots = Snapshots(node.hub, open=table.open)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for copy, spec in node.copies:
            tasks.create_task(snapshots.copy(copy, spec))
        await asyncio.sleep(0.2)  # why: the second copy has to wait for longer than COPY_RETRY_S
        table.may_end.set()
    assert [(copy.is_complete, copy.is_dead) for copy, _ in node.copies] == [(True, False)] * 2


@in_loop
async def test_the_database_stays_away_and_the_copy_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(spec: ShapeSpec) -> Table:
        raise DatabaseGone("nobody there")

    monkeypatch.setattr(limits, "COPY_RETRY_S", 0.05)
    node = Node()
    peer = node.open()
    node.join(peer, NOTES, initial=True)
    [(copy, spec)] = node.copies
    async with asyncio.timeout(10):
        await Snapshots(node.hub, open=refuse).copy(copy, spec)
    assert copy.is_dead
    assert peer.heard()[-1]["code"] == "unavailable"
