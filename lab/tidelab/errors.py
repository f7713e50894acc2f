"""All errors of the lab.

    LabError
    ├── HistoryError     a recorded history cannot be read
    ├── ShapeError       a shape asks for what the lab cannot judge exactly
    ├── DecodeError      the oracle does not understand what PostgreSQL sent
    ├── OracleError      the oracle has lost track, or is asked about what it cannot know
    ├── DatabaseError    PostgreSQL refused, or is not there
    ├── WireError        the system under test does not keep to its protocol
    ├── EngineError      the system under test does not start, or does not stop
    ├── ConfigurationError  a server of ours cannot start with these settings
    ├── StorageError     what agents share cannot be kept, or cannot be read
    ├── UnreachableError  a coordinator is not there, or does not let us look
    └── RefusedError     an agent asks for what it cannot have

A verdict is no error: a violated property is what the lab is there to find.
"""

from __future__ import annotations


class LabError(Exception):
    """Anything that goes wrong in the lab itself."""


class HistoryError(LabError):
    """A recorded history cannot be read."""


class ShapeError(LabError):
    """A shape asks for what the lab cannot judge exactly."""


class DecodeError(LabError):
    """The oracle does not understand what PostgreSQL sent."""


class OracleError(LabError):
    """The oracle has lost track, or is asked about what it cannot know."""


class DatabaseError(LabError):
    """PostgreSQL refused, or is not there."""


class WireError(LabError):
    """The system under test does not keep to its protocol: a run counts it as a violation."""


class EngineError(LabError):
    """The system under test does not start, or does not stop."""


class ConfigurationError(LabError):
    """A server of ours cannot start with these settings; nothing was started."""


class StorageError(LabError):
    """What agents share cannot be kept, or cannot be read."""


class UnreachableError(LabError):
    """A coordinator is not there, or does not let us look."""


class RefusedError(LabError):
    """An agent asks for what it cannot have: it is told a code like those of HTTP, and goes on."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
