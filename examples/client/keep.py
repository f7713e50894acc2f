"""Keep the rows in a file: a program that starts again is sent only what it missed."""

import asyncio
import os

from tidewire import Client, SqliteStore, SyncError

URL = os.environ.get("TIDEWIRE_URL", "ws://127.0.0.1:8800/v1/sync")
FILE = os.environ.get("ORDERS_FILE", "orders.db")


async def main() -> None:
    async with Client(URL, store=SqliteStore(FILE)) as client:
        print("the file is as of", client.saved_position)
        orders = await client.subscribe("orders")
        print("now there are", len(orders.rows), "rows, as of", client.position)
        while True:
            try:
                async for commit in orders.commits():
                    print(commit.lsn, "changed", len(commit.changes), "rows")
            except SyncError as error:
                print("commits are missing, the rows are not:", error)


asyncio.run(main())
