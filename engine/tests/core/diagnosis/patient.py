"""A database in good health, and how to make it ill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tidewire.core.diagnosis.facts import (
    Facts,
    Publication,
    Route,
    Server,
    Settings,
    Slot,
    Standing,
    Table,
)
from tidewire.core.diagnosis.finding import Finding, Level
from tidewire.core.shape.types import ColumnType, Kind

GIB = 1 << 30
SERVER = Server(
    version=180001,
    wal_level="logical",
    encoding="UTF8",
    database="app",
    role='"our role"',
    is_standby=False,
    may_replicate=True,
    may_create=True,
)
SETTINGS = Settings(
    slots_max=10,
    slots_used=1,
    walsenders_max=10,
    walsenders_used=1,
    connections_max=97,
    connections_used=20,
    slot_wal_bytes=10 * GIB,
    idle_slot_s=None,
    synchronous_standby_names="",
    standbys=(),
    application_name="tidewire",
    on_command_line=(),
    sees_others=True,
    may_log_snapshot=True,
)
ROUTE = Route(is_pooled=False, refusal=None, wal_sender_timeout_ms=3000, client_address="10.0.0.7")
PUBLICATION = Publication(
    name="tidewire_default",
    is_ours=True,
    has_all_tables=False,
    schemas=(),
    missing=(),
    is_via_root=True,
)
SLOT = Slot(
    is_bookmark=False,
    name="tidewire_default_0123abcd",
    database="app",
    is_own=True,
    active_pid=41,
    retained_bytes=3 << 20,
    wal_status="reserved",
)
TABLE = Table(
    name="public.orders",
    kind="r",
    persistence="p",
    identity="d",
    key=("id",),
    is_partition=False,
    hides_rows=False,
    role='"our role"',
    columns=("id", "body"),
    primary_key=("id",),
    primary_key_name="orders_pkey",
)
INT = ColumnType(Kind.INT4, 23, "pg_catalog", "int4")
TEXT = ColumnType(Kind.TEXT, 25, "pg_catalog", "text", is_bytewise=False)
JSONB = ColumnType(Kind.OTHER, 3802, "pg_catalog", "jsonb")
STANDING = Standing(
    owner="app_owner",
    owner_is_superuser=False,
    is_owner=True,
    schema="public",
    may_use_schema=True,
    may_select=True,
    is_published=True,
    is_narrowed=False,
    generated=(),
    types={"id": INT, "body": TEXT, "extra": JSONB},
)
FACTS = Facts(
    deployment="default",
    server=SERVER,
    settings=SETTINGS,
    route=ROUTE,
    publication=PUBLICATION,
    slots=(SLOT,),
    tables=((TABLE, STANDING),),
)


def with_settings(**changes: Any) -> Facts:
    """Return the facts of a server with other settings."""
    return replace(FACTS, settings=replace(SETTINGS, **changes))


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the one finding that is not well."""
    [found] = [each for each in findings if each.level is not Level.OK]
    return found


def are_well(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing is wrong."""
    return all(each.level is Level.OK for each in findings)
