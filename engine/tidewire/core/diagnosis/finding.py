"""A finding: what was found of one matter, and what to do about it.

A remedy is a script for psql: statements, and comments for what no statement can do. So it can be
pasted as it stands.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from tidewire.core.diagnosis.matters import MATTERS


class Level(enum.StrEnum):
    """How bad it is: a problem keeps something from working, a warning may do so one day."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one matter, and of one subject where there are several."""

    id: str
    level: Level
    text: str
    remedy: tuple[str, ...] = ()
    subject: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        assert self.id in MATTERS, self.id
        assert self.remedy or self.level is Level.OK, "who finds fault says what to do"

    @property
    def sentence(self) -> str:
        """The finding in one line, remedy included."""
        steps = [line.removeprefix("-- ").removesuffix(";") for line in self.remedy]
        return ": ".join([self.text, "; ".join(steps)] if steps else [self.text])


def ok(id: str, text: str, *remedy: str, subject: str | None = None) -> Finding:
    """Say that a matter is well; a remedy says how to have more of it."""
    return Finding(id, Level.OK, text, remedy, subject=subject)


def warning(id: str, text: str, *remedy: str, subject: str | None = None) -> Finding:
    """Say that a matter may become a problem."""
    return Finding(id, Level.WARNING, text, remedy, subject=subject)


def problem(id: str, text: str, *remedy: str, subject: str | None = None) -> Finding:
    """Say that something does not work, or will not."""
    return Finding(id, Level.PROBLEM, text, remedy, subject=subject)


def note(text: str) -> str:
    """Make a line of a remedy that PostgreSQL skips, whatever names stand in it."""
    return f"-- {''.join(c if c.isprintable() else '?' for c in text)}"


def literal(text: str) -> str:
    """Write a text as PostgreSQL reads it, with standard_conforming_strings (the default)."""
    return "'" + text.replace("'", "''") + "'"
