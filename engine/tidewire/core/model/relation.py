"""A table as the write-ahead log describes it at one moment."""

from __future__ import annotations

import enum

import msgspec


class Identity(enum.Enum):
    """Which columns of the old row a change carries (`pg_class.relreplident`)."""

    DEFAULT = "d"
    NOTHING = "n"
    FULL = "f"
    INDEX = "i"


class JsonForm(enum.Enum):
    """What stands in a JSON document for the text that PostgreSQL printed."""

    TEXT = "text"
    NUMBER = "number"
    """The text is a JSON number already."""
    FLOAT = "float"
    """A JSON number, but for NaN and the infinities, which are text."""
    BOOL = "bool"
    JSON = "json"
    """The text is a JSON document already."""


class Column(msgspec.Struct, frozen=True, gc=False):
    """One column; `in_identity` tells whether the old row carries it."""

    name: str
    type_oid: int
    type_modifier: int
    in_identity: bool
    form: JsonForm


class Relation(msgspec.Struct, frozen=True, gc=False):
    """One version of a table: a later Relation message with the same oid is another version."""

    oid: int
    schema: str
    name: str
    identity: Identity
    columns: tuple[Column, ...]

    @property
    def qualified_name(self) -> str:
        """Name the table with its schema, for messages to people."""
        return f"{self.schema}.{self.name}"
