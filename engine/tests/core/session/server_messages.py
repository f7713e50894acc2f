"""What a server says to a client's session, in JSON: the kit of the tests of the client's end."""

from __future__ import annotations

import json
from typing import Any

from tidewire.core.session.client import ClientSession, Event

COLUMNS = [["id", "int4"], ["amount", "numeric"], ["big", "int8"]]
NOTES = {"type": "subscribed", "id": "n", "shape": "s1", "table": "public.notes"}
NOTES |= {"key": ["id"], "columns": COLUMNS, "mode": "live"}  # type: ignore[dict-item]


def told(session: ClientSession, **message: Any) -> list[Event]:
    return session.receive(json.dumps(message))


def said(session: ClientSession) -> list[dict[str, Any]]:
    return [json.loads(message) for message in session.take()]


def welcome(session: ClientSession, epoch: str = "e1", **limit: int) -> list[Event]:
    session.connect()
    session.take()
    message = {"type": "welcome", "session": "x", "epoch": epoch, "lsn": "0/1"}
    return session.receive(json.dumps(message | {"heartbeat_s": 25, "limits": limit}))


def joined(*tables: str, epoch: str = "e1", **limit: int) -> ClientSession:
    """Make a session with `notes` as `n` and shape s1, and others as themselves."""
    session = ClientSession("me")
    session.subscribe("n", "notes")
    for table in tables:
        session.subscribe(table, table)
    welcome(session, epoch, **limit)
    session.take()
    told(session, **NOTES)
    for table in tables:
        told(session, **NOTES | {"id": table, "shape": table, "table": table})
    return session


def commit(session: ClientSession, lsn: str, *changes: Any, **more: Any) -> list[Event]:
    parts = more.pop("parts", [{"shape": "s1", "changes": list(changes)}])
    rest = {"at": 5, "xid": 6, "tag": f"tag-{lsn}"} | more
    return told(session, type="commit", lsn=lsn, parts=parts, **rest)


def row(id: int) -> list[Any]:
    return ["i", [id, None, None]]


def up_to(session: ClientSession, lsn: str) -> list[Event]:
    return told(session, type="up_to_date", lsn=lsn, tag=f"tag-{lsn}")
