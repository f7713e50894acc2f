"""Goal: every event can be told from every other on disk.

Method: their tags, over the whole union.
"""

from __future__ import annotations

from typing import get_args

import msgspec

from tidelab.core.history.event import ClientEvent, Event, Operation, RunEvent


def test_tags_are_words_and_differ() -> None:
    tags = [kind.__struct_config__.tag for kind in get_args(Event)]
    assert len(tags) == len(set(tags)) == 18
    assert {"invoke", "ok", "fail", "info"} == {
        kind.__struct_config__.tag for kind in get_args(Operation)
    }


def test_all_kinds_are_structs_of_the_union() -> None:
    kinds = {*get_args(ClientEvent), *get_args(Operation), *get_args(RunEvent)}
    assert kinds < set(get_args(Event))
    assert all(issubclass(kind, msgspec.Struct) for kind in kinds)
