"""Goal: answers and pushes have one form. Method: encode one of each kind of trouble."""

from __future__ import annotations

import msgspec

from tidelab.core.coord.answer import Changed, Released, Value


def test_what_is_null_by_meaning_is_written() -> None:
    told = Released("b", 1, 1_500, None, 500, 2, None)
    assert b'"start_at_local_ms":null' in msgspec.json.encode(told)
    assert b'"rank":null' in msgspec.json.encode(told)
    assert msgspec.json.encode(Changed("k", None, None)).endswith(b'"version":null,"value":null}')


def test_a_key_that_is_not_there_has_no_version() -> None:
    assert msgspec.json.encode(Value("k")) == b'{"key":"k"}'
