"""Sessions write, a subscriber sees each commit, and whoever wrote can wait until it is there."""

import asyncio
import os

from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tidewire import Client, Config, Engine, Subscription, position

DATABASE_URL = os.environ["DATABASE_URL"]
database = create_async_engine(DATABASE_URL.replace("postgresql", "postgresql+psycopg", 1))
new_session = async_sessionmaker(database, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    quantity: Mapped[int] = mapped_column(default=1)


async def place(*orders: Order) -> str:
    """Store orders in one transaction; return a position that includes it."""
    async with new_session() as session:
        session.add_all(orders)
        await session.commit()
    async with database.connect() as connection:
        return await position(connection)


async def follow(orders: Subscription) -> None:
    async for commit in orders.commits():
        print("one commit:", [(change.op, change.values.get("item")) for change in commit.changes])


async def main() -> None:
    async with database.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    config = Config(database_url=DATABASE_URL, dev=True, listen="127.0.0.1:0")
    async with Engine(config) as engine, Client(engine.url) as client:
        orders = await client.subscribe("orders")
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(follow(orders))
            placed = await place(Order(item="rope"), Order(item="anchor", quantity=2))
            await client.wait_for(placed)
            print("our own write is there:", sorted(row["item"] for row in orders.rows.values()))
            await asyncio.sleep(0)
            follower.cancel()
    await database.dispose()


if __name__ == "__main__":
    asyncio.run(main())
