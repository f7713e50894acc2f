"""Orders come in over HTTP and go out live: FastAPI, with Tidewire mounted below /sync."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from fastapi import FastAPI
from pydantic import BaseModel

from tidewire import position
from tidewire.asgi import Tidewire

DATABASE_URL = os.environ["DATABASE_URL"]
TABLE = """
CREATE TABLE IF NOT EXISTS orders (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text NOT NULL,
    quantity int NOT NULL
)
"""

tidewire = Tidewire()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with await psycopg.AsyncConnection.connect(DATABASE_URL) as connection:
        await connection.execute(TABLE)
    async with tidewire.lifespan(app):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/sync", tidewire)


class Order(BaseModel):
    item: str
    quantity: int = 1


class Receipt(BaseModel):
    id: int
    position: str
    """Whoever waits for it (`Client.wait_for`) has the order."""


@app.post("/orders", status_code=201)
async def create(order: Order) -> Receipt:
    async with await psycopg.AsyncConnection.connect(DATABASE_URL) as connection:
        cursor = await connection.execute(
            "INSERT INTO orders (item, quantity) VALUES (%s, %s) RETURNING id",
            [order.item, order.quantity],
        )
        row = await cursor.fetchone()
        assert row is not None
        await connection.commit()
        return Receipt(id=row[0], position=await position(connection))
