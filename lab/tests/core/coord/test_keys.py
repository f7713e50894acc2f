"""Goal: a write with a version succeeds once, and everybody who watches is told.

Method: put, compare, delete, watch.
"""

from __future__ import annotations

import msgspec
import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord import keys
from tidelab.core.coord.answer import Changed, Done, Value, Written
from tidelab.core.coord.command import Delete, Get, Put, Unwatch, Watch


def put(text: str, if_version: int | None = None, key: str = "k") -> Put:
    return Put(key=key, value=msgspec.Raw(text.encode()), if_version=if_version)


def test_a_value_comes_back_as_it_was_written() -> None:
    table = Table()
    a = table.join("a")
    assert table.fault(a, Get(key="k")).code == "not_found"
    table.ok(a, put('{"a": 1 }'), Written)
    found = table.ok(a, Get(key="k"), Value)
    assert (found.version, found.value) == (1, msgspec.Raw(b'{"a": 1 }'))


def test_of_many_who_create_one_wins() -> None:
    table = Table()
    answers = [table.ask(table.join(name), put("1", 0)) for name in "abcdefgh"]
    assert [answer is not None and answer.error is None for answer in answers].count(True) == 1
    fault = table.fault(table.join("z"), put("1", 0))
    assert (fault.code, fault.version) == ("conflict", 1)
    assert fault.message == "key k has version 1, expected version 0"
    assert "there is no key x" in table.fault(table.join("z"), put("1", 4, "x")).message


def test_a_key_that_was_removed_comes_back_with_a_new_version() -> None:
    table = Table()
    a = table.join("a")
    table.ok(a, put("1"), Written)
    assert table.fault(a, Delete(key="k", if_version=9)).code == "conflict"
    table.ok(a, Delete(key="k", if_version=1), Done)
    assert table.fault(a, Delete(key="k")).code == "not_found"
    table.restart()
    b = table.join("b")
    assert table.fault(b, put("2", 1)).code == "conflict"
    assert table.ok(b, put("2", 0), Written).version == 2
    table.restart()
    assert table.ok(table.join("c"), Get(key="k"), Value).version == 2


def test_who_watches_is_told_of_writing_and_removing() -> None:
    table = Table()
    a, b, gone = (table.join(name) for name in "abg")
    assert table.ok(a, Watch(key="k"), Value).version is None
    table.ok(gone, Watch(key="k"), Value)
    table.leave(gone)
    table.ok(b, put("1"), Written)
    assert table.ok(b, Watch(key="k"), Value).version == 1
    table.ok(b, Delete(key="k"), Done)
    one, none = Changed("k", 1, msgspec.Raw(b"1")), Changed("k", None, None)
    assert table.pushes(a) == [one, none]
    assert table.pushes(b) == [none]
    for peer in (a, b):
        table.ok(peer, Unwatch(key="k"), Done)
    table.ok(a, Unwatch(key="k"), Done)
    table.ok(b, put("2"), Written)
    assert len(table.pushes(a)) == 2


def test_data_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "COORD_VALUE_BYTES_MAX", 3)
    monkeypatch.setattr(keys, "COORD_KEYS_BYTES_MAX", 4)
    monkeypatch.setattr(keys, "COORD_NAMES_MAX", 2)
    table = Table()
    a = table.join("a")
    assert table.fault(a, put("1234")).code == "too_large"
    table.ok(a, put("123"), Written)
    table.ok(a, put("321"), Written)
    assert table.fault(a, put("12", key="l")).code == "full"
    table.ok(a, put("1", key="l"), Written)
    table.ok(a, put("1"), Written)
    assert table.fault(a, put("1", key="m")).code == "full"
