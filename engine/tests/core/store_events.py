"""Events for a store, short to write: the kit of its tests."""

from __future__ import annotations

from typing import Any

from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol.events import Chunk, Committed, Joined, Mode, RowChange
from tidewire.core.store import Store, Table

COLUMNS = (("id", "int4"), ("body", "text"))
LSN = Lsn(9)


def join(store: Store, *ids: str, mode: Mode = "initial", **more: Any) -> None:
    facts: dict[str, Any] = {"columns": COLUMNS, "key": ("id",), **more}
    for id in ids:
        store.apply(Joined(id, f"public.{id}", mode=mode, **facts))


def chunk(*rows: tuple[object, ...], ids: tuple[str, ...] = ("a",), number: int = 0) -> Chunk:
    return Chunk(ids, "c1", number, list(rows), is_last=False)


def insert(id: int, body: str = "new") -> RowChange:
    return RowChange("insert", (id,), {"id": id, "body": body})


def update(number: int, **values: object) -> RowChange:
    return RowChange("update", (number,), values)


def delete(id: int) -> RowChange:
    return RowChange("delete", (id,), {})


def rekey(before: int, now: int, **values: object) -> RowChange:
    return RowChange("rekey", (now,), values, (before,))


TRUNCATE = RowChange("truncate", (), {})


def commit(*changes: RowChange, stage: bool = False) -> Committed:
    return Committed(LSN, 1, 2, ({"a": list(changes)},), stage)


def shown(table: Table) -> dict[object, object]:
    return {name: row["body"] for name, row in table.rows.items()}
