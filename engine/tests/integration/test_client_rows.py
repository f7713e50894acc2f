"""Goal: an application sees rows that are whole, current and its own, or is told why not.

Method: the real client against a scripted server, which does what a real one does rarely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.script import bodies, failing, following, reached, talking
from tidewire import (
    Disconnected,
    Lagged,
    Shape,
    SyncError,
    WaitTimeout,
    limits,
)

# --- rows ---


@on_loop
async def test_subscribe_returns_when_the_rows_are_there_and_they_follow() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(
            client.subscribe("t", where="id > $1", params=[0], columns=["id", "body"])
        )
        (shape,) = await scene.asked()
        assert shape == {
            "id": "1",
            "table": "t",
            "where": "id > $1",
            "params": [0],
            "columns": ["id", "body"],
        }
        await scene.accept("1")
        await scene.chunk(0, [1, "a"])
        await scene.chunk(1, [2, "b"], last=True)
        await scene.commit("0/3", ["u", [1], {"body": "A"}], stage=True)
        await scene.up_to("0/4")
        await reached(client, "0/4")
        assert not asking.done()
        await scene.up_to("0/5", "1")
        orders = await asking
        assert orders.rows == {1: {"id": 1, "body": "A"}, 2: {"id": 2, "body": "b"}}
        assert isinstance(orders.rows, Mapping)
        assert (orders.table, orders.key, orders.is_live) == ("public.t", ("id",), True)
        await scene.commit("0/6", ["k", [1], [2], {}], ["k", [2], [1], {}])
        await reached(client, "0/6")
        assert bodies(orders) == {2: "A", 1: "b"}
        assert (len(orders.rows), 1 in orders.rows, orders.rows.get(7)) == (2, True, None)
        assert (await anext(orders.commits())).lsn == "0/6", "those of the stage are in the rows"
        assert "2 rows of public.t" in repr(orders.rows)
        assert "Subscription 1 of public.t" in repr(orders)


@on_loop
async def test_several_become_visible_together_and_a_commit_over_both_is_one() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe_all(Shape("t"), Shape("u")))
        assert [shape["table"] for shape in await scene.asked()] == ["t", "u"]
        await scene.accept("1")
        await scene.accept("2", shape="s2", table="public.u")
        await scene.chunk(0, [1, "t"], last=True)
        await scene.chunk(0, [1, "u"], shape="s2", copy="c2", last=True)
        await scene.up_to("0/5", "1", "2")
        t, u = await asking
        transactions = client.commits()
        both = [{"shape": s, "changes": [["u", [1], {"body": "x"}]]} for s in ("s1", "s2")]
        await scene.commit("0/6", parts=both)
        transaction = await anext(transactions)
        assert (bodies(t), bodies(u)) == ({1: "x"}, {1: "x"})
        assert transaction.changes.keys() == {t, u}
        assert transaction.lsn == "0/6"


@on_loop
async def test_commits_are_told_when_the_rows_have_them() -> None:
    async with talking() as (client, scene, _):
        t = await following(client, scene, [1, "a"])
        await scene.commit("0/6", ["i", [2, "b"]])
        await scene.commit("0/7", ["d", [1]])
        await reached(client, "0/7")
        commits = t.commits()
        first = await anext(commits)
        assert [change.op for change in first.changes] == ["insert"]
        assert bodies(t) == {2: "b"}, "rows are never behind, and may be ahead"
        assert (await anext(commits)).lsn == "0/7"


@on_loop
async def test_commits_only() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t", initial=False))
        (shape,) = await scene.asked()
        assert shape["initial"] is False
        await scene.accept("1", mode="live")
        await scene.up_to("0/5")
        t = await asking
        await scene.commit("0/6", ["u", [9], {"body": "x"}])
        assert (await anext(t.commits())).changes[0].key == (9,)
        with pytest.raises(RuntimeError, match="initial=False"):
            print(t.rows)


@on_loop
async def test_two_equal_subscriptions_of_one_client() -> None:
    async with talking() as (client, scene, _):
        first = await following(client, scene, [1, "a"])
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.subscribe("t"))
            await scene.asked()
            await scene.accept("2")
            await scene.commit("0/6", ["i", [2, "b"]])
            await scene.chunk(0, [1, "a"], copy="c2", last=True)
            await scene.commit("0/6", ["i", [2, "b"]], stage=True)
            await scene.up_to("0/6", "2")
            second = await asking
        assert bodies(first) == bodies(second) == {1: "a", 2: "b"}
        await client.unsubscribe(first)
        assert await scene.hear() == {"type": "unsubscribe", "id": "1"}
        await scene.commit("0/7", ["d", [1]])
        await reached(client, "0/7")
        assert bodies(second) == {2: "b"}
        assert bodies(first) == {1: "a", 2: "b"}, "what was received stays readable"
        assert [commit.lsn async for commit in first.commits()] == ["0/6"]


# --- waiting for a position ---


@on_loop
async def test_wait_for_returns_when_the_rows_hold_the_position() -> None:
    async with talking() as (client, scene, _):
        await client.wait_for("0/1")  # nothing is followed
        t = await following(client, scene, [1, "a"])
        await client.wait_for(5)  # it is there: nobody is asked
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(client.wait_for("0/7"))
            assert await scene.hear() == {"type": "wait", "lsn": "0/7"}
            await scene.commit("0/6", ["i", [2, "b"]])
            await reached(client, "0/6")
            assert not waiting.done()
            await scene.commit("0/8", ["i", [3, "c"]])
            await waiting
            assert 3 in t.rows


@on_loop
async def test_wait_for_waits_for_what_is_loading_and_says_how_far_it_got() -> None:
    async with talking() as (client, scene, _):
        await following(client, scene, [1, "a"])
        await scene.say(type="reset", reason="lagged", epoch="e1", shape="s1")
        await scene.up_to("0/9")
        await reached(client, "0/9")
        with pytest.raises(WaitTimeout) as caught:
            await client.wait_for("0/9", timeout_s=0.01)
        assert caught.value.reached == "0/9"
        assert isinstance(caught.value, TimeoutError)
        text = "not at 0/9 within 0.01 s; the rows are as of 0/9; loading: public.t"
        assert str(caught.value) == text
        with pytest.raises(ValueError, match="not a WAL position"):
            await client.wait_for("now")


@on_loop
async def test_many_that_wait_are_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITS_PER_S", 10.0)
    async with talking() as (client, scene, _):
        await following(client, scene)
        waits: list[str] = []

        async def listen() -> None:
            while True:
                waits.append((await scene.hear())["lsn"])

        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen())
            waiting = [tasks.create_task(client.wait_for(0x100 + n)) for n in range(100)]
            await until(lambda: len(waits) == 3, "some are asked for, one after the other")
            await scene.up_to("0/200")
            for task in waiting:
                await task
            listening.cancel()
        assert waits == ["0/100", "0/101", "0/102"]


# --- the end ---


@on_loop
async def test_a_cancelled_subscribe_gives_up_its_subscription() -> None:
    async with talking() as (client, scene, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.subscribe("t")
        await scene.asked()
        assert await scene.hear() == {"type": "unsubscribe", "id": "1"}
        await scene.accept("1")
        await scene.chunk(0, [1, "a"], last=True)
        t = await following(client, scene, [1, "a"])
        assert bodies(t) == {1: "a"}, "what was under way did no harm"


@on_loop
async def test_unsubscribing_while_the_rows_come_ends_the_wait_for_them() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(failing(client.subscribe("t"), SyncError))
        await scene.asked()
        await client.unsubscribe(client._following.subscriptions["1"])
        assert "t was unsubscribed" in str(await asking)


@on_loop
async def test_all_or_none_are_followed() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        both = client.subscribe_all(Shape("t"), Shape("nothing"))
        asking = tasks.create_task(failing(both, SyncError))
        await scene.asked()
        await scene.accept("1")
        await scene.say(type="error", code="unknown_table", text="no such table", ref="2")
        assert str(await asking) == "unknown_table: no such table"
        assert await scene.hear() == {"type": "unsubscribe", "id": "1"}


@on_loop
async def test_who_never_reads_commits_holds_one_filling_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CLIENT_COMMITS", 3)
    async with talking() as (client, scene, _):
        t = await following(client, scene)
        for number in range(10, 18):
            await scene.commit(f"0/{number:X}", ["i", [number, "x"]])
        await reached(client, "0/11")
        with pytest.raises(Lagged) as caught:
            await anext(t.commits())
        assert caught.value.missed == 8
        assert len(t.rows) == 8, "the rows have them all"
        await scene.commit("0/20", ["t"])
        assert (await anext(t.commits())).lsn == "0/20"


@on_loop
async def test_commits_are_bounded_by_their_changes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLIENT_CHANGES", 2)
    async with talking() as (client, scene, _):
        t = await following(client, scene)
        await scene.commit("0/6", *(["i", [id, "x"]] for id in range(5)))
        await reached(client, "0/6")
        assert len((await anext(t.commits())).changes) == 5, "one may be larger"
        await scene.commit("0/7", ["d", [4]], ["d", [3]])
        assert (await anext(t.commits())).lsn == "0/7", "what was read makes room"
        await scene.commit("0/8", *(["d", [id]] for id in range(2)))
        await scene.commit("0/9", ["i", [9, "x"]])
        await reached(client, "0/9")
        with pytest.raises(Lagged, match="2 commits"):
            await anext(t.commits())


@on_loop
async def test_a_closed_client_answers_everybody() -> None:
    async with talking() as (client, scene, _):
        t = await following(client, scene, [1, "a"])
        transactions = client.commits()
        await scene.commit("0/6", ["d", [1]])
        await reached(client, "0/6")
    assert (await anext(t.commits())).lsn == (await anext(transactions)).lsn == "0/6"
    for act in (anext(t.commits()), anext(client.commits()), t.live(), client.subscribe("t")):
        with pytest.raises(Disconnected, match="closed"):
            await act
    with pytest.raises(Disconnected, match="closed"):
        await client.wait_for("0/9")
    assert t.rows == {}
