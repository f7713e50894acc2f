"""One agent and the barrier, as they are known to whoever sees messages and connections only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tidelab.core.coord.answer import Answer, Fault, Push, Released
from tidelab.core.coord.command import Command


@dataclass(slots=True)
class Program:
    """One agent: what it knows, and what is on its way."""

    name: str
    is_visitor: bool
    """It has no socket: one HTTP request after the other, each with an end."""
    life: int = 0
    waits: int = 0
    generation: int = 0
    """The last one that it was told."""
    once: str | None = None
    """The wait for which it has no answer yet."""
    peer: int | None = None
    link: int | None = None
    """The connection which the server takes for it."""
    request: int = 0
    """How many waits it has sent."""
    beside: str | None = None
    """A second wait, made while the first had no answer."""
    has_doubled: bool = False
    """It made a second wait, so its generations are no longer one more each time."""
    known: dict[str, int] = field(default_factory=dict)
    """For what generation the server has its waits, by their names: of the latest one only ..."""
    kept: dict[str, int] = field(default_factory=dict)
    """... and what of that outlives the server."""
    open: set[str] = field(default_factory=set)
    """Waits on this connection which the server has taken and not answered ..."""
    asked: set[str] = field(default_factory=set)
    """... and those whose answer was not heard."""

    def note(self, once: str, generation: int) -> None:
        """Let the server know for which generation a wait was."""
        assert self.known.get(once, generation) == generation, (
            f"{self.name}: {once} was for another"
        )
        if all(at <= generation for at in self.known.values()):
            same = {name: at for name, at in self.known.items() if at == generation}
            self.known = same | {once: generation}

    out: deque[Command] = field(default_factory=deque)
    inbox: deque[Answer | Push] = field(default_factory=deque)


@dataclass(slots=True)
class Standing:
    """Who stands at the barrier, by what can be seen from outside; visitors until their lease."""

    names: set[str] = field(default_factory=set)
    leases: dict[str, float] = field(default_factory=dict)
    since: float = 0.0

    def come(self, name: str, now: float) -> None:
        if not self.names:
            self.since = now
        self.names.add(name)

    def expire(self, now: float) -> None:
        for name, lease in list(self.leases.items()):
            if lease <= now:
                self.names.discard(name)
                del self.leases[name]


def once_of(id: str) -> str:
    """Tell the name of a wait from the `id` that one of its requests had."""
    return id.partition(" ")[0]


def generation_of(told: Released | Fault) -> int:
    if isinstance(told, Released):
        return told.generation
    assert told.roll is not None
    return told.roll.generation
