"""Goal: what cannot be is refused with a code and the reason, and nobody else notices.

Method: a raw client says every wrong thing on one connection, on which a subscription lives; the
engine's role has the rights that the test gives it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from engine.tests.integration.live import Live, in_loop
from engine.tests.integration.syncing import (
    Watched,
    as_role,
    compare,
    only_newest,
    script,
    together,
    wire,
)
from tidewire import Client, Shape, SyncError

pytestmark = pytest.mark.postgres

CODES = json.loads((Path(__file__).parents[3] / "protocol/codes.json").read_text())["errors"]
TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, owner text, n int)",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "INSERT INTO t VALUES (1, 'ann', 1), (2, 'bob', 2)",
)
# What is asked for, the code, and a part of the text.
SHAPES: list[tuple[dict[str, Any], str, str]] = [
    ({"table": "nowhere"}, "unknown_table", "nowhere"),
    ({"table": "secret.t"}, "unknown_table", "secret.t"),
    ({"table": ""}, "bad_frame", ""),
    ({"table": "t", "columns": ["id", "nix"]}, "unknown_column", "nix"),
    ({"table": "t", "where": "nix = 1"}, "unknown_column", "at character 1"),
    ({"table": "t", "where": "owner = = 'x'"}, "bad_where", "at character 9"),
    ({"table": "t", "where": "id = 1 AND"}, "bad_where", "at the end"),
    ({"table": "t", "where": "id = 'x'"}, "bad_where", 'type integer: "x"'),
    ({"table": "t", "where": "id = 1); DROP TABLE t; --"}, "unsupported_where", "comments"),
    ({"table": "t", "where": "id = 1); DROP TABLE t; SELECT (1"}, "bad_where", "commands"),
    ({"table": "t", "where": "n + 1 = 2"}, "unsupported_where", ""),
    ({"table": "t", "where": "id = $2", "params": [1]}, "bad_params", ""),
    ({"table": "t", "where": "id = 1", "params": [1]}, "bad_params", "1 were given"),
    ({"table": "t", "where": "id = $1", "params": ["x"]}, "bad_params", "x"),
    ({"table": "t", "params": [1]}, "bad_params", "no condition"),
    ({"table": "t", "where": "id = $1", "params": [[1]]}, "bad_frame", ""),
    ({"table": "t", "from": {"epoch": "e", "lsn": "nix", "tag": ""}}, "bad_lsn", ""),
    ({"table": "t", "id": "live"}, "id_in_use", "live"),
    ({"table": 7}, "bad_frame", ""),
    ({"table": "v"}, "unsupported_table", "a view"),
    ({"table": "m"}, "unsupported_table", "a materialized view"),
    ({"table": "seq"}, "unsupported_table", "a sequence"),
    ({"table": "remote"}, "unsupported_table", "a foreign table"),
    ({"table": "unlogged"}, "unsupported_table", "SET LOGGED"),
    ({"table": "part_1"}, "unsupported_table", "is a partition"),
    ({"table": "no_key"}, "unsupported_table", "ADD PRIMARY KEY"),
]
FRAMES: list[tuple[str, dict[str, Any], str]] = [
    ("nix", {}, "unknown_type"),
    ("welcome", {}, "unknown_type"),
    ("hello", {"client": "again"}, "unexpected"),
    ("ack", {"n": 10**6}, "bad_ack"),
    ("wait", {"lsn": "0/G"}, "bad_lsn"),
    ("unsubscribe", {"id": "nobody"}, "unknown_id"),
    ("subscribe", {"shapes": "t"}, "bad_frame"),
]


@only_newest
@in_loop
async def test_whatever_is_said_wrong_is_told_and_the_connection_lives_on(live: Live) -> None:
    await script(
        live,
        *TABLE,
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM t",
        "CREATE SEQUENCE seq",
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE FOREIGN TABLE remote (id int) SERVER s",
        "CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)",
        "CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE no_key (id int)",
    )
    names = {code["name"] for code in CODES}
    async with live.engine() as engine, wire(engine.url) as raw, Client(engine.url) as client:
        t = await client.subscribe("t")
        await raw.subscribe(id="live", table="t")
        for number, (shape, code, text) in enumerate(SHAPES):
            asked = {"id": f"s{number}", **shape}
            error = await raw.error("subscribe", shapes=[asked])
            assert (error["code"], code in names) == (code, True), (shape, error)
            assert text in error["text"], (shape, error)
            assert error.get("ref") == (None if code == "bad_frame" else asked["id"])
        for type, fields, code in FRAMES:
            error = await raw.error(type, **fields)
            assert (error["code"], code in names) == (code, True), (type, error)
        await raw.socket.send("[")
        assert (await raw.until_error())["code"] == "bad_frame"
        await raw.say("subscribe", shapes=[{"id": "a", "table": "t"}, {"id": "a", "table": "t"}])
        assert (await raw.until_error())["code"] == "id_in_use"
        await raw.until("up_to_date")
        await script(live, "UPDATE t SET n = 3 WHERE id = 1")
        assert await raw.changes() == [["u", [1], {"n": 3}]]
        await compare(live, client, t)
        assert t.resets == 0


@only_newest
@in_loop
async def test_a_cursor_of_another_history_begins_anew_with_rows(live: Live) -> None:
    await script(live, *TABLE)
    async with live.engine() as engine, wire(engine.url) as raw:
        await script(live, "UPDATE t SET n = 0 WHERE id = 1")
        epoch = engine.hub.epoch
        for number, start in enumerate(
            (
                {"epoch": "of-another", "lsn": "0/1", "tag": ""},
                {"epoch": epoch, "lsn": "0/1", "tag": ""},
            )
        ):
            shape = {"id": f"{number}", "table": "t", "from": start}
            await raw.say("subscribe", shapes=[shape])
            reset = (await raw.until("reset"))[-1]
            assert reset["epoch"] == epoch
            assert reset["reason"] in ("other_history", "lagged")
            chunk = (await raw.until("snapshot"))[-1]
            assert (chunk["chunk"], len(chunk["rows"])) == (0, 2)
            while f"{number}" not in (await raw.until("up_to_date"))[-1].get("live", []):
                pass
            await raw.say("unsubscribe", id=f"{number}")


# --- rights ---


RIGHTS = {
    "unreadable": ("unknown_table", "there is no table"),
    "only_columns": ("unknown_table", "there is no table"),
    "hidden.t": ("unknown_table", "there is no table"),
    "readable": ("unsupported_table", "make this role its owner"),
    "secured": ("unsupported_table", "row-level security"),
}
TABLES = ("unreadable", "only_columns", "readable", "secured", "own")


@only_newest
@in_loop
async def test_an_engine_without_rights_follows_only_what_its_role_may_read(live: Live) -> None:
    async with (
        as_role(
            live,
            *(f"CREATE TABLE {name} (id int PRIMARY KEY, n int)" for name in TABLES),
            "CREATE SCHEMA hidden",
            "CREATE TABLE hidden.t (id int PRIMARY KEY)",
            "GRANT SELECT ON hidden.t TO ROLE",
            "GRANT SELECT (id) ON only_columns TO ROLE",
            "GRANT SELECT ON readable TO ROLE",
            "ALTER TABLE own OWNER TO ROLE",
            "ALTER TABLE secured OWNER TO ROLE",
            "ALTER TABLE secured ENABLE ROW LEVEL SECURITY",
            "INSERT INTO readable VALUES (1, 1)",
        ) as ordinary,
        ordinary.engine() as engine,
        Client(engine.url) as client,
    ):
        own = await client.subscribe("own")
        for table, (code, text) in RIGHTS.items():
            with pytest.raises(SyncError, match=text) as refused:
                await client.subscribe(table)
            assert refused.value.code == code, table
        await script(live, "INSERT INTO own VALUES (1, 1)")
        # An administrator has published it: now it can be followed without being its owner.
        await script(live, "ALTER PUBLICATION tidewire_default ADD TABLE readable")
        readable = await client.subscribe("readable")
        await script(live, "UPDATE readable SET n = 2")
        await compare(live, client, own, readable)


@in_loop
async def test_an_ordinary_role_that_owns_its_tables_can_do_everything(live: Live) -> None:
    async with as_role(
        live,
        "CREATE SCHEMA AUTHORIZATION ROLE",
        "CREATE TABLE ROLE.t (id int PRIMARY KEY, region text, n int)",
        "ALTER TABLE ROLE.t OWNER TO ROLE",
        "CREATE TABLE ROLE.p (id int, region text, PRIMARY KEY (id, region))"
        " PARTITION BY LIST (region)",
        "CREATE TABLE ROLE.p_1 PARTITION OF ROLE.p DEFAULT",
        "ALTER TABLE ROLE.p OWNER TO ROLE",
        "INSERT INTO ROLE.t SELECT n, 'eu', n FROM generate_series(1, 50) n",
    ) as ordinary:
        schema = str(urlsplit(ordinary.url).username)
        await script(ordinary, "ALTER TABLE t REPLICA IDENTITY FULL")
        async with ordinary.engine() as engine, Watched(engine.url) as client:
            first = [Shape(f"{schema}.t", where="region = 'us'"), Shape(f"{schema}.t")]
            rows = await client.subscribe_all(*first, Shape(f"{schema}.p"))
            await together(
                ordinary,
                [
                    "UPDATE t SET region = 'us' WHERE id % 2 = 0",
                    "UPDATE t SET id = -id WHERE id < 5",
                    "INSERT INTO p SELECT id, region FROM t",
                    "DELETE FROM t WHERE id > 40",
                ],
            )
            await compare(ordinary, client, *rows)
            await script(ordinary, "TRUNCATE p", "UPDATE t SET n = 0", "ALTER TABLE t ADD m int")
            await compare(ordinary, client, *rows)
            assert engine.status()["trouble"] is None
        async with ordinary.engine() as engine, Client(engine.url) as client:
            await compare(ordinary, client, await client.subscribe(f"{schema}.t"))
