"""Without an event loop: write a row, and wait until this client has it."""

import os

import psycopg

from tidewire.blocking import Client, position

URL = os.environ.get("TIDEWIRE_URL", "ws://127.0.0.1:8800/v1/sync")
DATABASE_URL = os.environ["DATABASE_URL"]

with Client(URL) as client, psycopg.connect(DATABASE_URL) as connection:
    orders = client.subscribe("orders")
    print("there are", len(orders.rows), "orders")

    connection.execute("UPDATE orders SET status = 'packed' WHERE id = 1")
    connection.commit()
    client.wait_for(position(connection), timeout_s=5)
    print("order 1 is", orders.rows[1]["status"])

    for commit in orders.commits():
        print(commit.lsn, [(change.op, change.key) for change in commit.changes])
        break
