"""Hold the rows of a table, and follow every change that anybody commits, as it happens."""

import asyncio
import os

from tidewire import Client

URL = os.environ.get("TIDEWIRE_URL", "ws://127.0.0.1:8800/v1/sync")


async def main() -> None:
    async with Client(URL) as client:
        orders = await client.subscribe("orders")
        print("following", orders.table, "by", orders.key, "with", len(orders.rows), "rows")
        async for commit in orders.commits():
            for change in commit.changes:
                print(change.op, change.key, "is now", orders.rows.get(change.key[0]))


asyncio.run(main())
