"""Goal: an outbox gives what was put before its end, and has a bound. Method: put, close, take."""

from __future__ import annotations

import asyncio

import pytest

from tidelab.coordinator import outbox
from tidelab.coordinator.outbox import SLOW, Outbox


def test_what_was_put_before_the_end_is_given_and_nothing_after_it() -> None:
    async def scene() -> None:
        box = Outbox()
        box.put(b"1")
        assert await box.take() == [b"1"]
        box.put(b"2")
        box.close(4001, "sent away")
        box.put(b"3")
        box.close(1000, "again")
        assert [await box.take(), await box.take()] == [[b"2"], []]
        assert box.closing == (4001, "sent away")

    asyncio.run(scene())


@pytest.mark.parametrize("bound", ["COORD_OUTBOX_BYTES_MAX", "COORD_OUTBOX_FRAMES_MAX"])
def test_a_full_outbox_is_emptied_and_ended(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, bound, 3)

    async def scene() -> None:
        box = Outbox()
        for _ in range(4):
            box.put(b"x")
        assert (box.closing, box.ended.is_set()) == (SLOW, True)
        assert await box.take() == []

    asyncio.run(scene())
