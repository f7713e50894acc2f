"""Rows of a type of your own, and several shapes as of one position."""

import asyncio
import os
from dataclasses import dataclass
from decimal import Decimal

from tidewire import Client, Shape

URL = os.environ.get("TIDEWIRE_URL", "ws://127.0.0.1:8800/v1/sync")


@dataclass
class Order:
    id: int
    customer: str
    price: Decimal
    status: str = "new"


async def main() -> None:
    first = Shape("orders", where="id <= $1", params=[3], row_type=Order)
    names = Shape("orders", columns=["id", "customer"])
    async with Client(URL) as client:
        orders, everybody = await client.subscribe_all(first, names)
        for order in orders.rows.values():
            print(order.id, order.customer, order.price, order.status)
        print(len(everybody.rows), "orders in all, as of", client.position)


asyncio.run(main())
