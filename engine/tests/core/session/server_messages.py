"""What a server says to a client's session, in JSON: the kit of the tests of the client's end."""

from __future__ import annotations

import json
from typing import Any

from tidewire.core.session.client import ClientSession, Event, Progressed

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
    """Make a session that follows the commits of `notes` as `n`, shape s1; others as themselves."""
    session = ClientSession("me")
    session.subscribe("n", "notes", initial=False)
    for table in tables:
        session.subscribe(table, table, initial=False)
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


def up_to(session: ClientSession, lsn: str, *live: str) -> list[Event]:
    return told(session, type="up_to_date", lsn=lsn, tag=f"tag-{lsn}", live=live)


def copying(*others: str, **limit: int) -> ClientSession:
    """Make a session to which the rows of `notes` are sent: `n` and others, all of shape s1."""
    session = ClientSession("me")
    for id in ("n", *others):
        session.subscribe(id, "notes")
    welcome(session, "e1", **limit)
    session.take()
    accept(session, "n", *others)
    return session


def accept(session: ClientSession, *ids: str, **more: Any) -> list[Event]:
    events = []
    for id in ids:
        events += told(session, **NOTES | {"id": id, "mode": "initial"} | more)
    return events


def chunk(session: ClientSession, number: int, *ids: int, **more: Any) -> list[Event]:
    rows = [row(id)[1] for id in ids]
    facts = {"shape": "s1", "copy": "c1", "chunk": number, "rows": rows} | more
    return told(session, type="snapshot", **facts)


def live(*others: str) -> ClientSession:
    """Make a session whose rows of `notes` are visible, as of 0/5."""
    session = copying(*others)
    chunk(session, 0, 1, last=True)
    up_to(session, "0/5", "n", *others)
    session.take()
    return session


def asked(session: ClientSession) -> list[dict[str, Any]]:
    """Return the shapes of the only message."""
    (message,) = said(session)
    assert message["type"] == "subscribe"
    shapes: list[dict[str, Any]] = message["shapes"]
    return shapes


def again(session: ClientSession, epoch: str = "e1") -> list[dict[str, Any]]:
    session.disconnect()
    welcome(session, epoch)
    return asked(session)


def went(session: ClientSession, *events: Event) -> None:
    assert [type(event) for event in events] == [Progressed]
    assert not session.is_loading
