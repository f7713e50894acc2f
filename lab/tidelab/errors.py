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
    ├── RefusedError     an agent asks for what it cannot have
    └── AgentError       what an agent asked for did not happen
        ├── AgentEnded      ... because it is over: replaced, dropped, closed, or nobody answers
        │   └── RunForgotten   the coordinator was started again, and knows nothing of the run
        └── Denied          ... because the coordinator says no
            ├── Conflict       others were quicker, or said something else
            ├── SignalTimeout  a signal was not raised so often in time
            └── BarrierBroken  a barrier ended without a start

A verdict is no error: a violated property is what the lab is there to find.
"""

from __future__ import annotations

from collections.abc import Mapping


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


class AgentError(LabError):
    """What an agent asked for did not happen."""


class AgentEnded(AgentError):
    """The agent is over: another took its name, its run was deleted, or nobody answers."""


class RunForgotten(AgentEnded):
    """The coordinator has forgotten the run: barriers, signals, topics and keys are gone.

    It kept them in memory and was started again, or somebody deleted the run meanwhile.
    """


class Denied(AgentError):
    """The coordinator says no; `code` is one of docs/reference/coordination.md."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Conflict(Denied):
    """Others were quicker, or said something else; `version` is that of the key it is about."""

    def __init__(self, text: str, version: int | None) -> None:
        super().__init__("conflict", text)
        self.version = version


class SignalTimeout(Denied, TimeoutError):
    """A signal was not raised so often in time."""


class BarrierBroken(Denied):
    """A barrier ended without a start: in time, by somebody's wish, or because none is possible.

    `code` is timeout, cancelled, broken or deadlock. Names are those of agents; long lists are cut.
    """

    def __init__(
        self,
        code: str,
        text: str,
        *,
        arrived: tuple[str, ...],
        missing: tuple[str, ...],
        dead: tuple[str, ...],
        doing: Mapping[str, str],
    ) -> None:
        super().__init__(code, text)
        self.arrived, self.missing, self.dead = arrived, missing, dead
        self.doing = doing
        """What each of them was last doing."""
