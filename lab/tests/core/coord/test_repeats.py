"""Goal: a request whose answer was lost can be sent again. Method: send everything twice."""

from __future__ import annotations

import msgspec
import pytest

from lab.tests.core.coord.table import Table
from tidelab.core.coord import repeats
from tidelab.core.coord.answer import Raised, Reached, Written
from tidelab.core.coord.command import Await, Delete, Put, Raise


def test_a_repeat_gets_the_same_answer_and_does_nothing() -> None:
    table = Table()
    a = table.join("a")
    table.ok(a, Raise(signal="s", once="1"), Raised)
    again = table.ask(a, Raise(id=5, signal="s", once="1"))
    assert again is not None
    assert again.id == 5
    assert again.ok == msgspec.Raw(b'{"signal":"s","sequence":1}')
    assert table.ok(a, Await(signal="s"), Reached).count == 1
    assert table.ok(a, Raise(signal="s"), Raised).sequence == 2


def test_a_repeat_is_known_after_a_restart_and_by_http() -> None:
    table = Table()
    table.ask(table.join("a"), Raise(signal="s", once="1"))
    table.visit(Raise(signal="s", once="1"))
    table.restart()
    for agent in ("a", None):
        table.visit(Raise(signal="s", once="1"), agent)
    assert table.ok(table.join("b"), Raise(signal="s", once="1"), Raised).sequence == 3


def test_a_name_is_for_one_request() -> None:
    table = Table()
    a = table.join("a")
    table.ok(a, Raise(signal="s", once="1"), Raised)
    fault = table.fault(a, Raise(signal="t", once="1"))
    assert (fault.code, fault.message) == (
        "conflict",
        "once=1 was given to another request: raise s",
    )


def test_a_name_is_for_one_value() -> None:
    table = Table()
    a = table.join("a")
    put = Put(key="k", value=msgspec.Raw(b"1"), once="1")
    table.ok(a, put, Written)
    for _ in range(2):
        fault = table.fault(a, Put(key="k", value=msgspec.Raw(b"2"), once="1"))
        assert fault.code == "conflict", "it would be lost without a word"
        again = table.ask(a, put)
        assert again is not None
        assert again.ok == msgspec.Raw(b'{"key":"k","version":1}')
        table.restart()
        a = table.join("a")


def test_answers_of_an_older_file_are_still_known() -> None:
    table = Table()
    table.ok(table.join("a"), Raise(signal="s", once="1"), Raised)
    for at, record in table.disk.items():
        if record.kind == "answer":
            fields = msgspec.json.decode(record.content or b"")
            del fields["digest"]
            table.disk[at] = record._replace(content=msgspec.json.encode(fields))
    table.restart()
    again = table.ask(table.join("a"), Raise(signal="s", once="1"))
    assert again is not None
    assert again.ok == msgspec.Raw(b'{"signal":"s","sequence":1}')


def test_a_refusal_is_not_kept() -> None:
    table = Table()
    a = table.join("a")
    assert table.fault(a, Delete(key="k", once="1")).code == "not_found"
    table.ask(a, Put(key="k", value=msgspec.Raw(b"1")))
    assert table.ask(a, Delete(key="k", once="1")) is not None
    assert table.fault(a, Delete(key="k")).code == "not_found"


def test_who_asked_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "COORD_AGENTS_MAX", 2)
    table = Table()
    a, b, c = (table.join(name) for name in "abc")
    for peer, once in ((a, "1"), (b, "1"), (a, "2"), (c, "1")):
        table.ok(peer, Raise(signal="s", once=once), Raised)
    again = table.ask(a, Raise(signal="s", once="2"))
    assert again is not None
    assert again.ok == msgspec.Raw(b'{"signal":"s","sequence":3}')
    assert {at[2] for at in table.disk if at[1] == "answer"} == {"a", "c"}


def test_answers_are_bounded_in_memory_and_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "COORD_AGENTS_MAX", 2)
    table = Table()
    for name in "abc":
        peer = table.join(name)
        for n in range(40):
            table.ok(peer, Raise(signal="s", once=str(n)), Raised)
    kept = [at for at in table.disk if at[1] == "answer"]
    assert len(kept) == 2 * 32
    assert {at[2] for at in kept} == {"b", "c"}
