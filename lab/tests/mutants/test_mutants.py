"""Goal: every checker is proven, by bugs that it must notice and by runs that must not alarm it.

Method: the reference server, with one bug at a time and without any; the numbers that
`tidelab selftest` prints are made of the same runs.
"""

from __future__ import annotations

import os

import pytest

from tidelab.core.check.registry import PROPERTIES
from tidelab.selftest.bugs import Bug
from tidelab.selftest.matrix import FIRST_SEED, FalseAlarm, Matrix, Mutant, run_clean, run_mutant
from tidelab.selftest.play import play

EFFORT = int(os.environ.get("TIDEWIRE_EFFORT", "1"))
IDLE = [Bug.DOES_NOTHING, Bug.AGREES_TO_ALL]


@pytest.mark.parametrize("bug", Bug, ids=lambda bug: bug.label)
def test_the_checker_that_is_meant_for_it_notices(bug: Bug) -> None:
    mutant = run_mutant(bug)
    assert mutant.is_killed, f"{bug.story}: {bug.killer} kept silent; alarms: {mutant.alarms}"


@pytest.mark.parametrize("bug", IDLE, ids=lambda bug: bug.label)
def test_a_server_that_does_no_work_never_passes(bug: Bug) -> None:
    assert run_mutant(bug).passed == 0


@pytest.mark.soak
def test_clean_runs_alarm_nobody() -> None:
    seeds = range(FIRST_SEED, FIRST_SEED + 100 * EFFORT)
    assert [alarm for seed in seeds if (alarm := run_clean(seed))] == []


def test_every_property_has_a_bug_that_it_is_meant_for() -> None:
    others = {"convergence"}  # whatever goes wrong ends there: it is meant for none, and hears most
    assert {bug.killer for bug in Bug} == {checker.name for checker in PROPERTIES} - others


def test_a_seed_is_a_run() -> None:
    assert play(3) == play(3)
    assert play(3) != play(4)


def test_a_mutant_that_nobody_noticed_fails_the_selftest() -> None:
    killed = Mutant(Bug.DROPS_COMMIT, {"loss": 1}, 0)
    survivor = Mutant(Bug.DROPS_COMMIT, {"convergence": 5}, 0)
    assert Matrix(1, (), (killed,)).answer == "true"
    assert Matrix(1, (), (killed, survivor)).answer == "false"
    assert Matrix(1, (FalseAlarm(1, ("x",)),), (killed,)).answer == "false"
    assert Matrix(0, (), (killed,)).answer == "unknown"
