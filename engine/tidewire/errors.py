"""The errors of Tidewire, one tree.

::

    TidewireError
    ├── ConfigError            the caller's settings are wrong; nothing was started
    ├── DatabaseError          PostgreSQL cannot serve us
    │   ├── DatabaseRefused    it answered, and the answer is final: a person must act
    │   └── DatabaseGone       it is not there now: retried by the replication task
    ├── DecodeError            bytes of the replication stream that do not fit the protocol
    ├── SpoolError             the spool cannot take more (disk full, removed folder)
    ├── ProtocolError          the peer broke the wire protocol
    ├── SyncError              the server refused a request of this client (code of codes.json)
    │   ├── Lagged             a consumer of this process was too slow; nothing was hidden from it
    │   └── Diverged           a commit did not fit the rows of this client: it starts over
    ├── WaitTimeout            a position was not reached in time (it is a TimeoutError, too)
    ├── StoreError             the file of a client's store cannot be used, or not be written
    ├── RowError               a row does not fit the type that the application gave
    └── Disconnected           the connection is gone and will not come back by itself

A *bug* of ours is an assertion, never one of these.
"""

from __future__ import annotations


class TidewireError(Exception):
    """Be the root of all errors that Tidewire raises on purpose."""


class ConfigError(TidewireError):
    """Say that a setting is missing or wrong."""


class DatabaseError(TidewireError):
    """Say that PostgreSQL cannot serve us."""


class DatabaseRefused(DatabaseError):
    """Say that PostgreSQL answered no, and that trying again would not help."""


class DatabaseGone(DatabaseError):
    """Say that PostgreSQL is not reachable now; trying again may help."""


class DecodeError(TidewireError):
    """Name the message, field and offset where the replication stream stops making sense."""

    def __init__(self, message: str, field: str, offset: int, problem: str) -> None:
        super().__init__(f"{message}.{field} at byte {offset}: {problem}")
        self.message = message
        self.field = field
        self.offset = offset
        self.problem = problem


class SpoolError(TidewireError):
    """Say that the spool cannot take more."""


class ProtocolError(TidewireError):
    """Say how the peer broke the wire protocol; `code` is a name of codes.json."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class SyncError(TidewireError):
    """Carry a refusal of the server; `code` is a name of codes.json."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Lagged(SyncError):
    """Say that this consumer did not read fast enough, and how much it missed."""

    def __init__(self, missed: int) -> None:
        super().__init__("lagged", f"the consumer was too slow: {missed} commits were dropped")
        self.missed = missed


class Diverged(SyncError):
    """Say that what the server sent does not fit the rows that are there; the client starts over.

    Its code, `diverged`, is this client's own: the server does not know of it.
    """

    def __init__(self, table: str, problem: str) -> None:
        super().__init__("diverged", f"{table}: {problem}")
        self.table = table


class WaitTimeout(TidewireError, TimeoutError):
    """Say that a position was not reached in time, and how far it got (`reached`, or None)."""

    def __init__(self, text: str, reached: str | None) -> None:
        super().__init__(text)
        self.reached = reached


class StoreError(TidewireError):
    """Say that the file of a store cannot be used, or not be written, and what to do about it."""


class RowError(TidewireError):
    """Say that a row does not fit the type that the application gave for it, and why."""

    def __init__(self, table: str, column: str | None, text: str) -> None:
        super().__init__(f"{table}: {text}")
        self.table = table
        self.column = column


class Disconnected(TidewireError):
    """Say that the connection ended and is not retried; `code` is the close code, if any."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code
