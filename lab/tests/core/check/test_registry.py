"""Goal: every checker is asked, and none says true without data.

Method: the list beside the folder.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tidelab.core.check
from lab.tests.core.scene import Scene, assert_unknown
from tidelab.core.check import assertion
from tidelab.core.check.checker import Checker, examine
from tidelab.core.check.registry import PROPERTIES, checkers_for
from tidelab.core.check.verdict import Answer
from tidelab.core.history.event import Asserted, Connected
from tidelab.core.history.history import History

EVERY = (*PROPERTIES, assertion.CHECKER)


def test_every_file_with_a_checker_is_in_the_list() -> None:
    folder = Path(tidelab.core.check.__path__[0])
    files = {path.stem for path in folder.glob("*.py") if "\nCHECKER = " in path.read_text()}
    assert files == {checker.name for checker in EVERY}


@pytest.mark.parametrize("checker", EVERY, ids=lambda checker: checker.name)
def test_without_data_nobody_knows(checker: Checker) -> None:
    scene = Scene()
    assert f"there were no {checker.unit}" in assert_unknown(scene, checker)
    scene.tell(Connected())
    assert_unknown(scene, checker)


def test_without_the_truth_nobody_knows() -> None:
    report = examine(History(()), PROPERTIES)
    assert report.answer is Answer.UNKNOWN


def test_assertions_are_judged_where_there_are_some() -> None:
    scene = Scene()
    assert checkers_for(scene.journal.history) == PROPERTIES
    scene.tell(Asserted("x", holds=True))
    assert checkers_for(scene.journal.history) == EVERY
