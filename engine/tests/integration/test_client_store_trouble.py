"""Goal: when the file cannot be written, or is not ours alone, that is told, and nothing is lost.

Method: the real client and a real file against a scripted server.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.script import bodies, failing, following, reached
from engine.tests.integration.stored import Gate, T, program
from tidewire import Client, Disconnected, SqliteStore, StoreError, limits


@on_loop
async def test_no_server_leaves_the_file_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with program(tmp_path, [1, "a"]) as it:
        nobody = Client("ws://127.0.0.1:1", store=SqliteStore(it.path), open_timeout_s=0.02)
        with pytest.raises(Disconnected):
            async with nobody:
                raise AssertionError("there is no server")
        async with it.run() as (_, scene):
            assert await scene.asked() == [T]


@on_loop
async def test_a_second_client_is_refused_the_file_and_the_first_goes_on(tmp_path: Path) -> None:
    async with program(tmp_path) as it, it.run() as (client, scene):
        t = await following(client, scene, [1, "a"])
        with pytest.raises(StoreError, match="in use by another process"):
            async with Client(it.script.url, store=SqliteStore(it.path)):
                raise AssertionError("the file is in use")
        await scene.commit("0/6", ["i", [2, "b"]])
        await reached(client, "0/6")
        assert bodies(t) == {1: "a", 2: "b"}


def connection_of(client: Client) -> sqlite3.Connection:
    assert client._saver is not None
    connection = client._saver._store._connection
    assert connection is not None
    return connection


@on_loop
async def test_a_full_disk_ends_the_client_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with program(tmp_path) as it:
        with caplog.at_level(logging.ERROR, "tidewire.client"):
            async with it.fail() as (client, scene):
                t = await following(client, scene, [1, "a"])
                await until(lambda: client.saved_position == "0/5", "it is saved")
                connection_of(client).execute("PRAGMA max_page_count = 1")
                await scene.commit("0/6", ["i", [2, "x" * 100_000]])
                assert (await anext(t.commits())).lsn == "0/6"
                for act in (anext(t.commits()), client.wait_for("0/9"), client.subscribe("t")):
                    with pytest.raises(StoreError, match=r"cannot be written: .* full"):
                        await act
                assert (t.is_live, client.saved_position) == (False, "0/5")
        assert "cannot be written" in caplog.text
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t"))
            assert await scene.asked() == [T]
            await scene.accept("1", mode="catchup")
            assert bodies(await asking) == {1: "a"}


@pytest.mark.parametrize("is_heard", [True, False])
@on_loop
async def test_who_leaves_without_having_heard_of_the_trouble_is_told(
    tmp_path: Path, is_heard: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave() -> None:
        async with it.run() as (client, scene):
            t = await following(client, scene, [1, "a"])
            await until(lambda: client.saved_position == "0/5", "it is saved")
            connection_of(client).execute("PRAGMA query_only = 1")
            await scene.commit("0/6", ["i", [2, "b"]])
            await reached(client, "0/6")
            if is_heard:
                await until(lambda: t.error is not None, "the client has ended")

    with caplog.at_level(logging.CRITICAL, "tidewire.client"):
        async with program(tmp_path) as it:
            error = await failing(leave(), StoreError)
    assert "cannot be written" in str(error)


@on_loop
async def test_nothing_more_is_read_while_the_file_is_too_far_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_BEHIND_ROWS", 3)
    gate = Gate(monkeypatch)
    async with program(tmp_path) as it, it.run() as (client, scene):
        t = await following(client, scene, [1, "a"])
        await until(lambda: gate.is_waiting, "the thread writes the copy")
        for number in range(6, 12):
            await scene.commit(f"0/{number:X}", ["i", [number, "x"]])
        await reached(client, "0/9")
        await asyncio.sleep(0.05)  # why: nothing would tell that more is read; it must not be
        assert (client.position, len(t.rows)) == ("0/9", 5)
        gate.open()
        await reached(client, "0/B")
        await until(lambda: client.saved_position == "0/B", "the file has caught up")
