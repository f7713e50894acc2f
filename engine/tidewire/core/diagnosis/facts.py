"""What a look at a database has found, before anybody judges it.

Names are as PostgreSQL quotes them, so that they can stand in a statement, but for those of columns
that say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidewire.core.shape.types import ColumnType


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What decides whether a server can serve us at all."""

    version: int
    """As `server_version_num`: 180001."""
    wal_level: str
    encoding: str
    database: str
    role: str
    is_standby: bool
    may_replicate: bool
    may_create: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings that matter, and how much of them is in use."""

    slots_max: int
    slots_used: int
    walsenders_max: int
    walsenders_used: int
    connections_max: int
    """For roles that are no superusers."""
    connections_used: int
    slot_wal_bytes: int | None
    """What a slot may keep; None: without bound, 0: nothing beyond what is kept anyway."""
    idle_slot_s: float | None
    """None: a slot is never given up for being idle, or the version does not know that."""
    synchronous_standby_names: str
    standbys: Sequence[str]
    """Names of the standbys that are connected."""
    application_name: str
    """Ours."""
    on_command_line: Sequence[str]
    """Parameters that were given when the server was started: they beat ALTER SYSTEM."""
    sees_others: bool
    """Whether this role is told what other sessions do."""
    may_log_snapshot: bool | None
    """Whether this role may ask for a snapshot that a slot can move over; None: nobody can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The route to the server: what became of the connections that were tried."""

    is_pooled: bool
    """What answered has another process id than what serves us."""
    refusal: str | None
    """Why there is no replication connection."""
    wal_sender_timeout_ms: int | None
    """As it is in the replication connection."""
    client_address: str | None
    """As the server sees us; None: by a local socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The publication of this deployment."""

    name: str
    is_ours: bool
    """Whether this role may change it."""
    has_all_tables: bool
    schemas: Sequence[str]
    """Schemas that are published as a whole."""
    missing: Sequence[str]
    """Kinds of changes that it does not publish."""
    is_via_root: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A replication slot that was made by Tidewire or tidelab."""

    name: str
    database: str
    is_own: bool
    """Whether it is of this deployment, in this database."""
    is_bookmark: bool
    """Whether a server has left it when it fell asleep."""
    active_pid: int | None
    retained_bytes: int | None
    """The write-ahead log that it keeps; None: none any more."""
    wal_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction that has written and is still open."""

    pid: int
    role: str | None
    state: str | None
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A transaction of two phases that waits for its second one."""

    id: str
    database: str
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that clients may want to follow."""

    name: str
    """With its schema."""
    kind: str
    """As in `pg_class.relkind`."""
    persistence: str
    """As in `pg_class.relpersistence`."""
    identity: str
    """As in `pg_class.relreplident`."""
    key: Sequence[str]
    """The columns that tell rows apart, not quoted; empty: nothing does."""
    is_partition: bool
    hides_rows: bool
    """Whether row-level security may hide rows from this role."""
    role: str
    """Ours."""
    columns: Sequence[str] = ()
    """Not quoted."""
    primary_key: Sequence[str] = ()
    """Its columns, also where it is deferrable and so cannot be the key."""
    primary_key_name: str = ""
    unique_index: str | None = None
    """An index that could be its replica identity."""
    root: str | None = None
    """The table that a partition is a part of."""
    poorer: Sequence[str] = ()
    """Partitions whose replica identity says less than that of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a table stands in the database: its rights, and its publication."""

    owner: str
    owner_is_superuser: bool
    is_owner: bool
    schema: str
    may_use_schema: bool
    may_select: bool
    is_published: bool
    is_narrowed: bool
    """Whether only some of its rows or columns are published."""
    generated: Sequence[str]
    """Columns, not quoted."""
    types: Mapping[str, ColumnType]
    """By column, not quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was found."""

    deployment: str
    server: Server
    settings: Settings
    route: Route
    publication: Publication | None
    slots: Sequence[Slot] = ()
    transactions: Sequence[Transaction] = ()
    prepared: Sequence[Prepared] = ()
    tables: Sequence[tuple[Table, Standing]] = ()
    missing_tables: Sequence[str] = ()
    """Names in the settings that no table has."""
