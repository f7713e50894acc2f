"""Goal: whatever comes from outside becomes a command or a fault.

Method: good and bad texts, and random ones.
"""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelab.core.coord.answer import Answer, Done, Fault, Replaced
from tidelab.core.coord.codec import (
    COMMANDS,
    decode_command,
    depth_of,
    encode,
    fault_of_name,
    make_command,
    read_json,
)
from tidelab.core.coord.command import Beat, Command, Leave, Put, Wait


def fault(text: str | bytes) -> Fault:
    found = decode_command(text.encode() if isinstance(text, str) else text)
    assert isinstance(found, Answer)
    assert found.error is not None
    return found.error


def test_a_command_is_read_and_its_value_kept_as_it_was_written() -> None:
    found = decode_command(b'{"id":7,"do":"put","key":"k","value":{"a": 1 ,"b":[]},"once":"u1"}')
    value = msgspec.Raw(b'{"a": 1 ,"b":[]}')
    assert found == Put(id=7, key="k", value=value, once="u1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ("{}", "missing required field `do`"),
        ('{"do":"wait"}', "missing required field `barrier`"),
        ('{"do":"wait","barrier":"b","target":"2"}', "Expected `int | null`, got `str`"),
        ('{"do":"wait","barrier":"b","target":1.5}', "Expected `int | null`, got `float`"),
        ('{"do":"wait","barrier":"b","target":0}', "Expected `int` >= 1 - at `$.target`"),
        ('{"do":"wait","barrier":"b","target":-3}', "Expected `int` >= 1 - at `$.target`"),
        ('{"do":"wait","barrier":"b","target":99999999}', "<= 10000"),
        ('{"do":"wait","barrier":"b","tarqet":2}', "unknown field `tarqet`"),
        (
            '{"do":"wait","barrier":"","target":2}',
            "Expected a name (1 to 128 of A-Z a-z 0-9 . _ : @ + -) - at",
        ),
        (
            '{"do":"wait","barrier":"a b","target":2}',
            "Expected a name (1 to 128 of A-Z a-z 0-9 . _ : @ + -) - at",
        ),
        (
            '{"do":"wait","barrier":"a\\n","target":2}',
            "Expected a name (1 to 128 of A-Z a-z 0-9 . _ : @ + -) - at",
        ),
        ('{"do":"wait","barrier":"b","timeout_s":0}', "> 0"),
        ('{"do":"put","key":"k"}', "missing required field `value`"),
        (b'{"do":"put","key":"k","value":"\xff"}', "not UTF-8"),
        ('{"do":"put","key":"k","value":' + "[" * 65 + "]" * 65 + "}", "deeper than 64"),
        ("[" * 1_000_000, "deeper than 64"),
    ],
)
def test_bad_input_is_a_fault_that_says_what_is_wrong(text: str | bytes, words: str) -> None:
    found = fault(text)
    assert found.code == "bad_request"
    assert words in found.message


def test_an_unknown_command_is_told_the_known_ones() -> None:
    found = fault('{"do":"jump"}')
    assert found.code == "unknown_command"
    assert "'jump'" in found.message
    assert all(name in found.message for name in COMMANDS)


def test_a_fault_carries_the_id_of_its_request_if_that_can_be_read() -> None:
    for text, id in (
        ('{"do":1,"id":"x"}', "x"),
        ('{"do":"leave","id":[]}', None),
        ('{"do":"leave","id":7,"more":' + "[" * 65 + "]" * 65 + "}", 7),
        ('{"do":"leave","id":7,"more":' + "[" * 100_000, None),
    ):
        found = decode_command(text.encode())
        assert isinstance(found, Answer)
        assert found.id == id


def test_fields_of_a_request_may_be_texts() -> None:
    found = make_command({"do": "wait", "barrier": "b", "target": "3", "timeout_s": "1.5"})
    assert found == Wait(barrier="b", target=3, timeout_s=1.5)
    refused = make_command({"do": "wait", "barrier": "b", "target": "three"})
    assert isinstance(refused, Fault)


def test_a_body_is_a_value_as_it_was_written_or_fields() -> None:
    assert read_json(b'{"a": 1 }', msgspec.Raw) == msgspec.Raw(b'{"a": 1 }')
    assert read_json(b'{"a": 1 }', dict) == {"a": 1}
    for text in (b"", b"{", b"\xff"):
        assert isinstance(read_json(text, msgspec.Raw), Fault)
    assert isinstance(read_json(b"[]", dict), Fault)


def test_a_name_is_short_and_plain() -> None:
    assert fault_of_name("run", "Ab-1.2_:@+") is None
    for wrong in ("", "a/b", "a b", "x" * 129, "a\n", 7):
        found = fault_of_name("run", wrong)
        assert found is not None
        assert found.message.endswith("the name of the run")


def test_depth_is_counted_outside_of_strings() -> None:
    inside = json.dumps({"a": ["[" * 100, '\\"{']}).encode()
    assert depth_of(inside) == 2
    assert depth_of(b"[" * 70 + b"]" * 70) == 70
    assert depth_of(b"[],{}," * 40) == 1


def test_answers_are_written_without_what_they_do_not_say() -> None:
    assert encode(Answer(id=3, ok=Done())) == b'{"id":3,"ok":{}}'
    told = b'{"error":{"code":"gone","message":"m"}}'
    assert encode(Answer(error=Fault("gone", "m"))) == told
    assert encode(Replaced("a")) == b'{"event":"replaced","agent":"a"}'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = st.sampled_from(
    ["id", "do", "run", "agent", "barrier", "target", "roster", "key", "value", "once", "data"]
)


@given(st.binary() | st.text().map(str.encode))
def test_random_bytes_never_raise(text: bytes) -> None:
    assert isinstance(decode_command(text), Answer)


@given(
    st.dictionaries(FIELDS, JSON),
    st.sampled_from(sorted(COMMANDS)),
)
def test_random_fields_never_raise(fields: dict[str, object], verb: str) -> None:
    found = decode_command(json.dumps({**fields, "do": verb}).encode())
    assert isinstance(found, Command | Answer)


def test_every_command_can_be_asked_for() -> None:
    assert decode_command(b'{"do":"beat"}') == Beat()
    assert decode_command(b'{"do":"leave"}') == Leave()
    assert len(COMMANDS) == 20
