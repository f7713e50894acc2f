"""Goal: commands can be told in words, and say by their type what may be repeated.

Method: a few of them.
"""

from __future__ import annotations

from tidelab.core.coord.command import Leave, List, Once, Publish, Put, Raise, Wait


def test_a_command_is_told_by_its_verb_and_its_subject() -> None:
    assert str(Wait(barrier="start", target=2)) == "wait start"
    assert str(List()) == "list"


def test_what_would_do_harm_twice_can_be_named() -> None:
    assert all(issubclass(kind, Once) for kind in (Wait, Raise, Publish, Put))
    assert not issubclass(Leave, Once)
