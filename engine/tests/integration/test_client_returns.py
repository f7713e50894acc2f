"""Goal: whatever happens to its connection, a client goes on, starts over, or says that it cannot.

Method: the real client against a scripted server that cuts, refuses, resets and errs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.script import answer, bodies, failing, following, reached, talking
from tidewire import Disconnected, Diverged, SyncError, limits

START = {"epoch": "e1", "lsn": "0/5", "tag": "tag-0/5"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(limits, "BACKOFF_LONGEST_S", 0.01)


@on_loop
async def test_rows_go_on_where_they_were() -> None:
    async with talking() as (client, scene, script):
        t = await following(client, scene, [1, "a"])
        await scene.cut()
        scene = await script.scene()
        assert t.is_live
        assert bodies(t) == {1: "a"}, "they stay while there is no connection"
        await scene.welcome()
        assert await scene.asked() == [{"id": "1", "table": "t", "from": START}]
        await scene.accept("1", mode="catchup")
        await scene.commit("0/6", ["i", [2, "b"]])
        await reached(client, "0/6")
        assert bodies(t) == {1: "a", 2: "b"}
        assert (await anext(t.commits())).lsn == "0/6"
        assert t.resets == 0


@on_loop
async def test_a_copy_goes_on_where_it_was_and_its_commits_come_again() -> None:
    async with talking() as (client, scene, script), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t"))
        await scene.asked()
        await scene.accept("1")
        await scene.chunk(0, [1, "a"])
        await scene.chunk(1, [2, "b"], last=True)
        await scene.commit("0/3", ["d", [1]], stage=True)
        await scene.up_to("0/4")
        await reached(client, "0/4")
        await scene.cut()
        scene = await script.scene()
        await scene.welcome()
        (shape,) = await scene.asked()
        assert shape == {"id": "1", "table": "t", "resume": {"copy": "c1", "chunk": 2}}
        await scene.accept("1")
        await scene.commit("0/3", ["d", [1]], stage=True)
        await scene.up_to("0/5", "1")
        assert bodies(await asking) == {2: "b"}


@on_loop
async def test_after_a_reset_the_new_rows_take_the_place_of_the_old_in_one_step() -> None:
    async with talking() as (client, scene, _):
        t = await following(client, scene, [1, "a"])
        commits = t.commits()
        await scene.say(type="reset", reason="lagged", epoch="e1")
        with pytest.raises(SyncError, match="lagged"):
            await anext(commits)
        assert (bodies(t), t.is_live, t.resets) == ({1: "a"}, False, 1)
        await scene.chunk(0, [2, "b"], copy="c2")
        await scene.chunk(1, [3, "c"], copy="c2", last=True)
        await scene.up_to("0/9")
        await reached(client, "0/9")
        assert bodies(t) == {1: "a"}
        await scene.up_to("0/9", "1")
        await t.live()
        assert bodies(t) == {2: "b", 3: "c"}
        await scene.commit("0/A", ["d", [2]])
        assert (await anext(t.commits())).lsn == "0/A"


@on_loop
async def test_what_cannot_be_continued_after_coming_back_is_told_once() -> None:
    async with talking() as (client, scene, script):
        t = await following(client, scene, [1, "a"])
        await scene.cut()
        scene = await script.scene()
        await scene.welcome()
        await scene.asked()
        await scene.accept("1")
        with pytest.raises(SyncError, match="other_history"):
            await anext(t.commits())
        await scene.say(type="reset", reason="lagged", epoch="e1", shape="s1")
        await scene.chunk(0, [2, "b"], copy="c2", last=True)
        await scene.up_to("0/9", "1")
        await t.live()
        await scene.commit("0/A", ["d", [2]])
        assert (await anext(t.commits())).lsn == "0/A"
        assert t.resets == 1


@on_loop
async def test_a_table_that_changed_is_read_again_as_it_is_now() -> None:
    async with talking() as (client, scene, _):
        t = await following(client, scene, [1, "a"])
        await scene.say(type="reset", reason="schema_changed", epoch="e1", shape="s1")
        assert await scene.asked() == [{"id": "1", "table": "t"}]
        await scene.accept("1", shape="s2", columns=[["id", "int4"], ["n", "int8"]])
        await scene.chunk(0, [1, "7"], shape="s2", last=True)
        await scene.up_to("0/9", "1")
        await until(lambda: t.is_live, "the new rows are there")
        assert t.rows == {1: {"id": 1, "n": 7}}
        assert t.columns == (("id", "int4"), ("n", "int8"))


@pytest.mark.parametrize(
    "change", [["u", [9], {"body": "x"}], ["d", [9]], ["i", [1, "x"]], ["k", [9], [8], {}]]
)
@on_loop
async def test_a_commit_that_does_not_fit_makes_the_client_start_over(
    change: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with talking() as (client, scene, script):
        t = await following(client, scene, [1, "a"])
        transactions = client.commits()
        with caplog.at_level(logging.ERROR, "tidewire.client"):
            await scene.commit("0/6", ["i", [2, "b"]], change)
            scene = await script.scene()
        assert "starting over with new copies: diverged: public.t" in caplog.text
        assert bodies(t) == {1: "a"}, "nothing of the commit is seen"
        assert not t.is_live
        for commits in (t.commits(), transactions):
            with pytest.raises(Diverged):
                await anext(commits)
        asked = await scene.serve_rows([1, "a"], [2, "b"], lsn="0/3")
        assert asked == [{"id": "1", "table": "t"}]
        await t.live()
        assert (bodies(t), client.position, t.resets) == ({1: "a", 2: "b"}, "0/3", 1)


@on_loop
async def test_a_position_that_is_waited_for_is_asked_for_on_the_next_connection() -> None:
    async with talking() as (client, scene, script):
        await following(client, scene)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(client.wait_for("0/7"))
            assert (await scene.hear())["type"] == "wait"
            await scene.cut()
            scene = await script.scene()
            await scene.welcome()
            await scene.asked()
            assert await scene.hear() == {"type": "wait", "lsn": "0/7"}
            await scene.accept("1", mode="catchup")
            await scene.up_to("0/7")
            await waiting


@on_loop
async def test_a_server_that_cannot_now_is_asked_again_for_all_together() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t"))
        also = tasks.create_task(client.subscribe("t"))
        ids = [(await scene.asked())[0]["id"] for _ in range(2)]
        for id in ids:
            await scene.say(type="error", code="unavailable", text="no database", ref=id)
        assert [shape["id"] for shape in await answer(scene, [1, "a"])] == ids
        assert bodies(await asking) == bodies(await also) == {1: "a"}


@on_loop
async def test_a_server_that_cannot_for_long_is_not_asked_any_more() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(failing(client.subscribe("t", timeout_s=0.03), SyncError))
        refused = {"type": "error", "code": "unavailable", "text": "no database", "ref": "1"}

        async def refuse() -> None:
            while True:
                await scene.asked()
                await scene.say(**refused)

        refusing = tasks.create_task(refuse())
        assert str(await asking) == "unavailable: no database"
        refusing.cancel()


@on_loop
async def test_what_was_live_once_is_asked_for_as_long_as_it_takes() -> None:
    async with talking() as (client, scene, script):
        t = await following(client, scene, [1, "a"])
        t._patience_s = 0
        await scene.cut()
        scene = await script.scene()
        await scene.welcome()
        for _ in range(3):
            assert await scene.asked() == [{"id": "1", "table": "t", "from": START}]
            await scene.say(type="error", code="unavailable", text="no database", ref="1")
        await scene.asked()
        await scene.accept("1", mode="catchup")
        await scene.commit("0/6", ["d", [1]])
        await reached(client, "0/6")
        assert (bodies(t), t.resets) == ({}, 0)


@on_loop
async def test_a_copy_that_fails_for_good_ends_the_subscription_and_leaves_its_rows() -> None:
    async with talking() as (client, scene, _):
        t = await following(client, scene, [1, "a"])
        await scene.say(type="reset", reason="lagged", epoch="e1")
        await scene.say(type="error", code="too_large", text="4 GB", ref="1")
        await until(lambda: t.error is not None, "it has ended")
        with pytest.raises(SyncError, match="too_large"):
            await t.live()
        assert (bodies(t), t.is_live) == ({1: "a"}, False)
        await scene.say(type="error", code="bad_frame", text="not about a subscription")
        again = await following(client, scene, [2, "b"])
        assert bodies(again) == {2: "b"}


@on_loop
async def test_a_server_that_breaks_the_protocol_is_left() -> None:
    async with talking() as (client, scene, _):
        t = await following(client, scene, [1, "a"])
        await scene.chunk(7, [1, "a"], shape="unheard of")
        with pytest.raises(Disconnected, match="broke the protocol: a shape that nobody has"):
            await anext(t.commits())
        with pytest.raises(Disconnected):
            await client.wait_for("0/9")


@on_loop
async def test_a_close_that_is_final_is_told() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(failing(client.subscribe("t"), Disconnected))
        await scene.asked()
        await scene.close(4401)
        assert (await asking).code == 4401
