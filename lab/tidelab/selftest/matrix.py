"""The kill matrix: every bug against every checker, and clean runs that must alarm nobody.

The one rule: a mutant is killed when the checker that is *meant* for it says false. A clean run
that is anything but true is a false alarm: a checker that does not know is no proof either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidelab.core.check.checker import examine
from tidelab.core.check.registry import PROPERTIES
from tidelab.core.check.verdict import Answer
from tidelab.selftest.bugs import Bug
from tidelab.selftest.play import play

SEEDS_EACH = 5  # runs of each mutant: some bugs need luck to strike
FIRST_SEED = 1


@dataclass(frozen=True, slots=True)
class Mutant:
    """How one bug fared: in how many of its runs each checker said false."""

    bug: Bug
    alarms: dict[str, int]
    passed: int
    """Runs in which the whole verdict was true all the same."""

    @property
    def is_killed(self) -> bool:
        """Tell whether the checker that is meant for it noticed."""
        return self.alarms.get(self.bug.killer, 0) > 0


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """A clean run that was not found true, and what was said about it."""

    seed: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """All that a self-test found."""

    clean_runs: int
    false_alarms: tuple[FalseAlarm, ...]
    mutants: tuple[Mutant, ...]

    @property
    def killed(self) -> int:
        """Count the mutants that were killed."""
        return sum(mutant.is_killed for mutant in self.mutants)

    @property
    def answer(self) -> Answer:
        """Say whether the checkers are proven; without clean runs nobody knows."""
        if self.false_alarms or self.killed < len(self.mutants):
            return Answer.FALSE
        return Answer.TRUE if self.clean_runs and self.mutants else Answer.UNKNOWN

    def document(self) -> dict[str, object]:
        """Return the matrix as JSON has it."""
        return {
            "answer": self.answer,
            "mutants": len(self.mutants),
            "killed": self.killed,
            "clean_runs": self.clean_runs,
            "false_alarms": len(self.false_alarms),
            "false_alarm_seeds": [alarm.seed for alarm in self.false_alarms],
            "runs_each": SEEDS_EACH,
            "checkers": [checker.name for checker in PROPERTIES],
            "matrix": {mutant.bug.label: _row(mutant) for mutant in self.mutants},
        }


def _row(mutant: Mutant) -> dict[str, object]:
    return {
        "story": mutant.bug.story,
        "meant_for": mutant.bug.killer,
        "killed": mutant.is_killed,
        "alarms": mutant.alarms,
    }


def run_mutant(bug: Bug) -> Mutant:
    """Run one bug with several seeds."""
    alarms: dict[str, int] = {}
    passed = 0
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS_EACH):
        report = examine(play(seed, frozenset({bug})), PROPERTIES)
        passed += report.answer is Answer.TRUE
        for verdict in report.verdicts:
            if verdict.answer is Answer.FALSE:
                alarms[verdict.checker] = alarms.get(verdict.checker, 0) + 1
    return Mutant(bug, alarms, passed)


def run_clean(seed: int) -> FalseAlarm | None:
    """Run the server without bugs; return what anybody had to say against it."""
    report = examine(play(seed), PROPERTIES)
    if report.answer is Answer.TRUE:
        return None
    said = [v for v in report.verdicts if v.answer is not Answer.TRUE]
    return FalseAlarm(seed, tuple(f"{v.checker}: {v.answer}: {v.reason}" for v in said))


def run_selftest(clean_runs: int, tell: Callable[[str], None]) -> Matrix:
    """Run everything; `tell` hears how far it is."""
    mutants = []
    for bug in Bug:
        tell(f"mutant {bug.label}")
        mutants.append(run_mutant(bug))
    alarms = []
    for seed in range(FIRST_SEED, FIRST_SEED + clean_runs):
        tell(f"clean run {seed} of {clean_runs}")
        if alarm := run_clean(seed):
            alarms.append(alarm)
    return Matrix(clean_runs, tuple(alarms), tuple(mutants))
