"""Goal: values go out as PostgreSQL reads them, and rows come as the application's own types.

Method: the real client against a scripted server.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest

from engine.tests.integration.loop import on_loop
from engine.tests.integration.script import answer, bodies, failing, following, talking
from tidewire import (
    RowError,
    Shape,
    SyncError,
    limits,
)

# --- rows of the application's own types ---


@dataclasses.dataclass
class Plain:
    id: int
    body: str


class Struct(msgspec.Struct):
    id: int
    body: str


class Named(TypedDict):
    id: int
    body: str


class Tuple(NamedTuple):
    id: int
    body: str


@pytest.mark.parametrize("row_type", [Plain, Struct, Named, Tuple])
@on_loop
async def test_rows_are_of_the_type_that_was_given(row_type: Any) -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t", row_type=row_type))
        await answer(scene, [1, "a"])
        t = await asking
        assert t.rows == {1: row_type(id=1, body="a")}


@pytest.mark.parametrize("row_type", [Plain, Struct, Named])
@on_loop
async def test_a_row_that_does_not_fit_says_where(row_type: Any) -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t", row_type=row_type))
        await answer(scene, [1, None])
        t = await asking
        with pytest.raises(RowError) as caught:
            print(t.rows[1])
        assert (caught.value.table, caught.value.column) == ("public.t", "body")
        assert "public.t" in str(caught.value)
        assert "body" in str(caught.value)
        assert row_type.__name__ in str(caught.value)


class Wanting(msgspec.Struct):
    id: int
    price: int
    note: str = ""


@dataclasses.dataclass
class WantingToo:
    price: int
    note: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)


class WantingThree(TypedDict):
    price: int


@pytest.mark.parametrize("row_type", [Wanting, WantingToo, WantingThree])
@on_loop
async def test_a_type_that_wants_other_columns_is_refused_at_once(row_type: Any) -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        subscribing = client.subscribe("t", row_type=row_type)
        asking = tasks.create_task(failing(subscribing, RowError))
        await scene.asked()
        await scene.accept("1")
        assert "wants column 'price'; there are body, id" in str(await asking)
        assert await scene.hear() == {"type": "unsubscribe", "id": "1"}


@on_loop
async def test_a_constructor_that_fails_says_which_row_type() -> None:
    def refuse(**row: object) -> object:
        raise ValueError("never")

    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.subscribe("t", row_type=refuse))  # type: ignore[arg-type]
        await answer(scene, [1, "a"])
        t = await asking
        with pytest.raises(RowError, match="refuse: never"):
            print(t.rows[1])


# --- what is asked for ---


@on_loop
async def test_parameters_go_as_what_postgresql_reads() -> None:
    async with talking() as (client, scene, _), asyncio.TaskGroup() as tasks:
        values = [
            1,
            "x",
            True,
            None,
            0.5,
            2**60,
            math.inf,
            b"\x00\xff",
            UUID(int=1),
            Decimal("1.50"),
        ]
        values.append(date(2026, 1, 2))
        asking = tasks.create_task(client.subscribe("t", where="...", params=values))
        (shape,) = await scene.asked()
        texts = ["1152921504606846976", "inf", "\\x00ff", str(UUID(int=1)), "1.50", "2026-01-02"]
        assert shape["params"] == [1, "x", True, None, 0.5, *texts]
        asking.cancel()


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (Shape(""), "bad_frame"),
        (Shape("t", where="x" * (limits.WHERE_CHARS + 1)), "bad_frame: t: "),
        (Shape("t", where="a = $1", params=["x" * limits.INBOUND_FRAME_BYTES]), "bad_params: t: "),
    ],
)
@on_loop
async def test_what_no_server_would_read_is_not_sent(shape: Shape[Any], text: str) -> None:
    async with talking() as (client, scene, _):
        with pytest.raises(SyncError, match=text):
            await client.subscribe_all(Shape("t"), shape)
        assert bodies(await following(client, scene, [1, "a"])) == {1: "a"}
