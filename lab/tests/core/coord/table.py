"""A coordinator with agents, for the tests of the core: time is a number, answers are lists."""

from __future__ import annotations

from typing import TypeVar

from tidelab.core.coord.answer import Answer, Body, Fault, Push, Roll
from tidelab.core.coord.command import Command, Join, Wait
from tidelab.core.coord.coordinator import Coordinator, Rights
from tidelab.core.coord.record import Record

B = TypeVar("B", bound=Body)


def roll_of(fault: Fault) -> Roll:
    assert fault.roll is not None
    return fault.roll


def wait(barrier: str = "b", **more: object) -> Wait:
    return Wait(barrier=barrier, **more)  # type: ignore[arg-type]


class Table:
    """One server, driven by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.server = Coordinator()
        self.disk: dict[tuple[str, str, str, int], Record] = {}
        self.told: dict[int, list[Answer | Push]] = {}
        self.closed: list[int] = []
        self._peers = 0

    # --- connections ---

    def connect(self, rights: Rights = Rights.ADMIN) -> int:
        self._peers += 1
        self.server.connect(self._peers, rights)
        self.told[self._peers] = []
        return self._peers

    def join(self, agent: str, run: str = "r", **more: object) -> int:
        """Return the connection of a new agent."""
        peer = self.connect()
        self.ask(peer, Join(run=run, agent=agent, **more))  # type: ignore[arg-type]
        return peer

    def visit(
        self, command: Command, agent: str | None = None, rights: Rights = Rights.ADMIN
    ) -> Answer | None:
        """Make one HTTP request; None when it is not answered at once (and it stays open)."""
        self._peers += 1
        self.told[self._peers] = []
        fault = self.server.visit(self._peers, rights, "r", agent, self.now)
        if fault is not None:
            return Answer(error=fault)
        answer = self.ask(self._peers, command)
        if answer is not None:
            self.leave(self._peers)
        return answer

    def leave(self, peer: int) -> None:
        self.server.disconnect(peer, self.now)
        self.settle()

    def restart(self) -> None:
        """Lose everything but what was kept."""
        self.server = Coordinator()
        self.server.restore(self.disk.values(), self.now)
        self.settle()

    # --- asking ---

    def ask(self, peer: int, command: Command) -> Answer | None:
        """Send a command; return its answer if it is answered at once."""
        before = len(self.told[peer])
        self.server.receive(peer, command, self.now)
        self.settle()
        new = [m for m in self.told[peer][before:] if isinstance(m, Answer)]
        return new[-1] if new else None

    def ok(self, peer: int, command: Command, kind: type[B]) -> B:
        """Send a command that is answered at once, and well."""
        answer = self.ask(peer, command)
        assert answer is not None, f"{command} waits"
        assert isinstance(answer.ok, kind), answer
        return answer.ok

    def fault(self, peer: int, command: Command) -> Fault:
        """Send a command that is refused at once."""
        answer = self.ask(peer, command)
        assert answer is not None, f"{command} waits"
        assert answer.error is not None, answer
        return answer.error

    def last(self, peer: int, kind: type[B]) -> B:
        """Return the last answer of a connection."""
        answer = self.told[peer][-1]
        assert isinstance(answer, Answer), answer
        assert isinstance(answer.ok, kind), answer
        return answer.ok

    def last_fault(self, peer: int) -> Fault:
        answer = self.told[peer][-1]
        assert isinstance(answer, Answer), answer
        assert answer.error is not None, answer
        return answer.error

    def pushes(self, peer: int) -> list[Push]:
        return [message for message in self.told[peer] if isinstance(message, Push)]

    def pass_time(self, seconds: float) -> None:
        """Let time go by, and everything happen at its time."""
        end = self.now + seconds
        while (deadline := self.server.next_deadline()) is not None and deadline <= end:
            self.now = deadline
            self.server.wake(deadline)
        self.now = end
        self.settle()

    def settle(self) -> None:
        effects = self.server.take()
        for write in effects.writes:
            if isinstance(write, Record) and write.content is not None:
                self.disk[write[:4]] = write
            elif isinstance(write, Record):
                self.disk.pop(write[:4], None)
            else:
                self.disk = {at: r for at, r in self.disk.items() if r.run != write.run}
        for peer, message in effects.messages:
            self.told[peer].append(message)
        self.closed += effects.closes
