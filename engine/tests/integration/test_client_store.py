"""Goal: a program that starts again goes on with the rows of its store, or with new ones.

Method: the real client and a real file against a scripted server; `test_client_kills.py` has real
ones, and programs that are killed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.script import answer, bodies, failing, following, reached
from engine.tests.integration.stored import Program, T, program
from tidewire import RowError, Shape, SqliteStore, SyncError, limits
from tidewire.core.saved import Batch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(limits, "BACKOFF_LONGEST_S", 0.01)


# --- going on ---


@on_loop
async def test_a_program_that_starts_again_is_sent_what_it_missed(tmp_path: Path) -> None:
    async with program(tmp_path, [1, "a"], [2, "b"]) as it:
        async with it.run(lsn="0/7") as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t"))
            assert await scene.asked() == [T]
            await scene.accept("1", mode="catchup")
            await scene.commit("0/6", ["u", [1], {"body": "A"}])
            await reached(client, "0/6")
            assert not asking.done(), "the server is at 0/7: these rows are old"
            await scene.commit("0/7", ["d", [2]])
            t = await asking
            assert (bodies(t), client.position, t.resets) == ({1: "A"}, "0/7", 0)
            commits = t.commits()
            assert [(await anext(commits)).lsn for _ in range(2)] == ["0/6", "0/7"]
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            assert client.saved_position == "0/7"
            asking = tasks.create_task(client.subscribe("t"))
            start = {"epoch": "e1", "lsn": "0/7", "tag": "tag-0/7"}
            assert await scene.asked() == [T | {"from": start}]
            await scene.accept("1", mode="catchup")
            assert bodies(await asking) == {1: "A"}, "nothing was missed, nothing is waited for"


@on_loop
async def test_it_is_told_when_the_server_has_no_more_without_commits(tmp_path: Path) -> None:
    async with (
        program(tmp_path, [1, "a"]) as it,
        it.run(lsn="0/9") as (client, scene),
        asyncio.TaskGroup() as tasks,
    ):
        asking = tasks.create_task(client.subscribe("t"))
        await scene.asked()
        await scene.accept("1", mode="catchup")
        assert await scene.hear() == {"type": "wait", "lsn": "0/9"}
        await scene.up_to("0/9")
        assert bodies(await asking) == {1: "a"}


@on_loop
async def test_several_are_gone_on_with_from_one_cursor_and_a_new_one_joins(tmp_path: Path) -> None:
    async with program(tmp_path) as it:
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(
                client.subscribe_all(Shape("t"), Shape("t", where="id > $1", params=[0]))
            )
            await answer(scene, [1, "a"])
            await asking
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            other = tasks.create_task(client.subscribe("t", where="id > $1", params=[0]))
            new = tasks.create_task(client.subscribe("t", where="id > $1", params=[1]))
            plain = tasks.create_task(client.subscribe("t"))
            asked = await scene.asked()
            assert [(shape["id"], "from" in shape) for shape in asked] == [("1", True), ("2", True)]
            for id in ("1", "2"):
                await scene.accept(id, mode="catchup")
            (shape,) = await scene.asked()
            assert (shape["id"], shape["params"]) == ("3", [1])
            await scene.accept("3", shape="s3")
            await scene.chunk(0, [5, "e"], shape="s3", copy="c3", last=True)
            await scene.up_to("0/5", "3")
            assert bodies(await plain) == bodies(await other) == {1: "a"}
            assert bodies(await new) == {5: "e"}


@on_loop
async def test_what_is_asked_for_otherwise_is_another_subscription(tmp_path: Path) -> None:
    async with (
        program(tmp_path, [1, "a"]) as it,
        it.run() as (client, scene),
        asyncio.TaskGroup() as tasks,
    ):
        asking = tasks.create_task(client.subscribe("t", columns=["id", "body"]))
        assert await scene.asked() == [T]
        await scene.accept("1", mode="catchup")
        assert await scene.asked() == [{"id": "2", "table": "t", "columns": ["id", "body"]}]
        asking.cancel()


@on_loop
async def test_commits_only_are_not_kept(tmp_path: Path) -> None:
    async with program(tmp_path) as it:
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t", initial=False))
            await scene.asked()
            await scene.accept("1", mode="live")
            await scene.up_to("0/5")
            await asking
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t", initial=False))
            assert await scene.asked() == [{"id": "1", "table": "t", "initial": False}]
            asking.cancel()


@on_loop
async def test_rows_of_the_store_come_as_the_type_that_is_given(tmp_path: Path) -> None:
    async with program(tmp_path, [1, "a"]) as it:
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t", row_type=Named))
            await scene.asked()
            await scene.accept("1", mode="catchup")
            assert (await asking).rows == {1: Named(1, "a")}
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            await scene.asked()
            await scene.accept("1", mode="catchup")
            await until(lambda: client._following.subscriptions["1"].is_live, "it goes on")
            refused = tasks.create_task(failing(client.subscribe("t", row_type=Wanting), RowError))
            assert "wants column 'price'" in str(await refused)


class Named:
    def __init__(self, id: int, body: str) -> None:
        self.row = (id, body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.row == other.row


@dataclass
class Wanting:
    price: int


# --- when it cannot be gone on with ---


@pytest.mark.parametrize("is_accepted", [True, False])
@on_loop
async def test_a_cursor_that_cannot_be_continued_brings_a_new_copy(
    tmp_path: Path, is_accepted: bool
) -> None:
    async with program(tmp_path, [1, "a"]) as it:
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t"))
            await scene.asked()
            if is_accepted:
                await scene.accept("1", mode="catchup")
            else:
                await scene.accept("1")
            await scene.say(type="reset", reason="lagged", epoch="e1")
            await scene.chunk(0, [2, "b"], last=True)
            await scene.up_to("0/9", "1")
            assert bodies(await asking) == {2: "b"}
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t"))
            assert (await scene.asked())[0]["from"]["lsn"] == "0/9"
            await scene.accept("1", mode="catchup")
            assert bodies(await asking) == {2: "b"}


@pytest.mark.parametrize(("epoch", "lsn"), [("e1", "0/9"), ("e2", "0/3")])
@on_loop
async def test_another_history_brings_a_new_copy_also_at_a_lower_position(
    tmp_path: Path, epoch: str, lsn: str
) -> None:
    async with program(tmp_path, [1, "a"]) as it:
        async with it.run(lsn, epoch) as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t"))
            await scene.asked()
            await scene.accept("1", mode="catchup")
            await until(lambda: client._following.subscriptions["1"].is_live, "it is accepted")
            assert await scene.hear() == {"type": "wait", "lsn": lsn}
            assert not asking.done(), "these are not the rows of this server"
            await scene.say(type="reset", reason="other_history", epoch="e2")
            await scene.chunk(0, [2, "b"], last=True)
            await scene.up_to("0/3", "1")
            assert bodies(await asking) == {2: "b"}
        async with it.run("0/3") as (client, scene):
            (shape,) = await scene.asked()
            assert shape["from"] == {"epoch": "e2", "lsn": "0/3", "tag": "tag-0/3"}


@on_loop
async def test_a_table_that_has_other_columns_by_now_is_copied_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    columns = [["id", "int4"], ["body", "text"], ["more", "int4"]]
    async with program(tmp_path, [1, "a"]) as it, it.run() as (client, scene):
        with caplog.at_level(logging.CRITICAL, "tidewire.client"):
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(client.subscribe("t"))
                await scene.asked()
                await scene.accept("1", mode="catchup", columns=columns)
                scene = await it.script.scene()
                await scene.welcome()
                assert await scene.asked() == [{"id": "1", "table": "t"}]
                await scene.accept("1", columns=columns)
                await scene.chunk(0, [1, "a", 7], last=True)
                await scene.up_to("0/6", "1")
                assert (await asking).rows == {1: {"id": 1, "body": "a", "more": 7}}
        await until(lambda: client.saved_position == "0/6", "it is saved")


@on_loop
async def test_rows_that_stand_still_are_not_gone_on_with(tmp_path: Path) -> None:
    async with program(tmp_path) as it:
        async with it.run() as (client, scene):
            t = await following(client, scene, [1, "a"])
            await scene.say(type="reset", reason="lagged", epoch="e1")
            await scene.chunk(0, [2, "b"], copy="c2", last=True)
            await until(lambda: not t.is_live, "the reset has come")
        async with it.run() as (client, scene), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t"))
            assert await scene.asked() == [{"id": "1", "table": "t"}]
            asking.cancel()


@on_loop
async def test_a_commit_that_does_not_fit_is_not_written_and_its_position_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written: list[Batch] = []
    original = SqliteStore.write

    def write(store: SqliteStore, batch: Batch) -> None:
        written.append(batch)
        original(store, batch)

    monkeypatch.setattr(SqliteStore, "write", write)
    async with program(tmp_path) as it, it.run() as (client, scene):
        t = await following(client, scene, [1, "a"])
        await until(lambda: client.saved_position == "0/5", "it is saved")
        disconnect = client._session.disconnect

        def write_now() -> None:
            disconnect()
            client._tell()  # the client has not started over yet

        client._session.disconnect = write_now  # type: ignore[method-assign]
        with caplog.at_level(logging.ERROR, "tidewire.client"):
            await scene.commit("0/6", ["d", [9]])
            await until(lambda: written[-1].changes == [("1", None, None)], "t is forgotten")
        assert not t.is_live
        assert {batch.cursor.lsn for batch in written if batch.cursor} == {5}


# --- what is forgotten ---


@on_loop
async def test_what_is_unsubscribed_is_forgotten(tmp_path: Path) -> None:
    async with program(tmp_path) as it:
        async with it.run() as (client, scene):
            t = await following(client, scene, [1, "a"])
            await client.unsubscribe(t)
        await nothing_is_asked_for(it)


@on_loop
async def test_what_is_not_asked_for_again_is_forgotten_when_the_program_ends(
    tmp_path: Path,
) -> None:
    async with program(tmp_path, [1, "a"]) as it:
        async with it.run() as (_, scene):
            assert await scene.asked() == [T]
        await nothing_is_asked_for(it)


@on_loop
async def test_what_is_not_asked_for_again_is_forgotten_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_UNASKED_S", 0.01)
    async with program(tmp_path) as it:
        async with it.run() as (client, scene):
            await following(client, scene, [1, "a"])
        async with it.run() as (client, scene):
            assert await scene.asked() == [T]
            assert await scene.hear() == {"type": "unsubscribe", "id": "1"}


@on_loop
async def test_what_is_not_asked_for_is_kept_when_the_program_fails(tmp_path: Path) -> None:
    async with program(tmp_path, [1, "a"]) as it:
        async with it.fail() as (_, scene):
            assert await scene.asked() == [T]
        async with it.run() as (_, scene):
            assert await scene.asked() == [T]


@on_loop
async def test_what_is_not_asked_for_and_cannot_go_on_is_not_copied_again(tmp_path: Path) -> None:
    async with program(tmp_path, [1, "a"]) as it:
        async with it.run() as (client, scene):
            assert await scene.asked() == [T]
            await scene.accept("1")
            assert await scene.hear() == {"type": "unsubscribe", "id": "1"}
            assert client._following.subscriptions == {}
        await nothing_is_asked_for(it)


@on_loop
async def test_a_cancelled_subscribe_leaves_the_rows_in_the_store(tmp_path: Path) -> None:
    async with program(tmp_path, [1, "a"]) as it:
        async with it.fail(lsn="0/9") as (client, scene), asyncio.TaskGroup() as tasks:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await client.subscribe("t")
            assert await scene.asked() == [T]
            both = client.subscribe_all(Shape("t"), Shape("nothing"))
            refused = tasks.create_task(failing(both, SyncError))
            await scene.asked()
            await scene.say(type="error", code="unknown_table", text="?", ref="2")
            await refused
        async with it.run() as (_, scene):
            assert await scene.asked() == [T]


@on_loop
async def test_transactions_tell_of_nothing_that_was_not_asked_for(tmp_path: Path) -> None:
    async with (
        program(tmp_path, [1, "a"]) as it,
        it.run() as (client, scene),
        asyncio.TaskGroup() as tasks,
    ):
        transactions = client.commits()
        await scene.asked()
        await scene.accept("1", mode="catchup")
        await scene.commit("0/6", ["i", [2, "b"]])
        await reached(client, "0/6")
        t = await tasks.create_task(client.subscribe("t"))
        await scene.commit("0/7", ["i", [3, "c"]])
        assert (await anext(transactions)).lsn == "0/7"
        assert [(await anext(t.commits())).lsn for _ in range(2)] == ["0/6", "0/7"]


async def nothing_is_asked_for(it: Program) -> None:
    async with it.run() as (client, scene):
        assert client._following.subscriptions == {}
        again = await following(client, scene, [7, "g"])
        assert bodies(again) == {7: "g"}
