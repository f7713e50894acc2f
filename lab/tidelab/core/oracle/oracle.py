"""The oracle: all tables at every position, and a view for each shape that somebody asks about.

The one rule: it knows only what PostgreSQL told it, and says so when it is asked about more.
"""

from __future__ import annotations

from typing import assert_never

from tidelab.core.history.position import Lsn, format_lsn
from tidelab.core.history.shape import Shape
from tidelab.core.history.truth import (
    Baseline,
    Committed,
    Fenced,
    Table,
    TableChange,
    Truncated,
    Truth,
)
from tidelab.core.oracle.state import TableState
from tidelab.core.oracle.view import View
from tidelab.errors import OracleError, ShapeError


class Oracle:
    """Follow the truth from its baseline on."""

    def __init__(self, baseline: Baseline) -> None:
        self.begin = baseline.lsn
        self.position = baseline.lsn
        self.commits: dict[Lsn, Committed] = {}
        self._states = {rows.table.name: TableState(rows) for rows in baseline.tables}
        self._views: dict[Shape, View] = {}

    def receive(self, truth: Truth) -> None:
        """Take in the next piece of truth; commits that the baseline contains are skipped.

        Raises OracleError.
        """
        match truth:
            case Baseline():
                raise OracleError("a history has one baseline; this is another one")
            case Fenced(lsn):
                self.position = max(self.position, lsn)
            case Committed(lsn):
                if lsn > self.begin:
                    self._apply(truth)
            case _:
                assert_never(truth)

    def knows(self, lsn: Lsn) -> bool:
        """Tell whether everything up to a position has been read, and nothing is too old."""
        return self.begin <= lsn <= self.position

    def table(self, name: str) -> Table:
        """Return a table.

        Raises ShapeError.
        """
        return self._state(name).table

    def view(self, shape: Shape) -> View:
        """Return the view of a shape; equal shapes share one.

        Raises ShapeError.
        """
        view = self._views.get(shape)
        if view is None:
            view = self._views[shape] = View(shape, self._state(shape.table), self.begin)
        return view

    def _state(self, name: str) -> TableState:
        if name not in self._states:
            known = ", ".join(self._states) or "none"
            raise ShapeError(f"the oracle does not follow table {name!r}; it follows {known}")
        return self._states[name]

    def _apply(self, commit: Committed) -> None:
        if self.commits and commit.lsn <= next(reversed(self.commits)):
            raise OracleError(f"commit {format_lsn(commit.lsn)} came out of order")
        self.commits[commit.lsn] = commit
        self.position = max(self.position, commit.lsn)
        by_table: dict[str, list[TableChange]] = {}
        for change in commit.changes:
            tables = change.tables if isinstance(change, Truncated) else (change.table,)
            for name in tables:
                by_table.setdefault(name, []).append(change)
        for name, changes in by_table.items():
            if name in self._states:
                self._states[name].apply(commit.lsn, changes)
