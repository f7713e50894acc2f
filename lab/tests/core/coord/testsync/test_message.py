"""Goal: messages are read as leniently as by the original, and what makes no sense is told.

Method: bytes in, commands or refusals out; and any bytes at all, which must be one of the two.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidelab.core.coord.testsync.limits import (
    AGENTS_MAX,
    CHECKPOINT_NAME_MAX,
    UPDATE_BYTES_MAX,
)
from tidelab.core.coord.testsync.message import (
    Close,
    Command,
    CountConnections,
    ReadData,
    UpdateData,
    WaitCheckpoint,
    read_message,
    shorten,
)
from tidelab.errors import RefusedError


@pytest.mark.parametrize(
    ("payload", "command"),
    [
        (b'{"command":"read_data"}', ReadData()),
        (b'{"command":"close","content":{}}', Close()),
        (b'{"COMMAND":"get_connection_count"}', CountConnections()),
        (b' \n{"command":"nope","command":"close"} \n', Close()),
        (b'{"command":"close","content":"\xff","id":7}', Close()),
        (b'{"command":"update_data","content": {"b" : 1} }', UpdateData(b'{"b" : 1}')),
        (b'{"command":"update_data","content":"x"}', UpdateData(b'"x"')),
        (b'{"command":"update_data","content":null}', UpdateData(b"null")),
        (b'{"command":"update_data"}', UpdateData(b"")),
        (b'{"command":"update_data","content":"\xff"}', UpdateData(b'"\xff"')),
    ],
)
def test_a_message_is_a_command(payload: bytes, command: Command) -> None:
    assert read_message(payload) == command


@pytest.mark.parametrize(
    ("content", "command"),
    [
        (b'{"identifier":"x","target_count":2}', WaitCheckpoint("x", 2)),
        (b'{"IDENTIFIER":"x","Target_Count":-2}', WaitCheckpoint("x", -2)),
        (b'{"identifier":null,"target_count":null}', WaitCheckpoint("", 0)),
        (b'{"target_count":-9223372036854775808}', WaitCheckpoint("", -(2**63))),
        (b'{"identifier":"\xff\\u00e9"}', WaitCheckpoint("\ufffd\u00e9", 0)),
        (b"null", WaitCheckpoint("", 0)),
        (b"{}", WaitCheckpoint("", 0)),
    ],
)
def test_a_checkpoint_is_a_name_and_a_number(content: bytes, command: Command) -> None:
    assert read_message(b'{"command":"wait_checkpoint","content":' + content + b"}") == command


NUMBERS = st.integers(-(2**63) - 1, 2**63) | st.integers(-3, AGENTS_MAX + 1)


@given(st.text() | st.just("x" * (CHECKPOINT_NAME_MAX + 1)), NUMBERS)
def test_what_is_written_as_usual_is_read_as_if_it_were_not(name: str, target: int) -> None:
    content = {"identifier": name, "target_count": target}
    usual = {"command": "wait_checkpoint", "content": content}
    assert outcome_of(usual) == outcome_of({**usual, "more": 1})


def outcome_of(message: Mapping[str, object]) -> Command | str:
    try:
        return read_message(json.dumps(message).encode())
    except RefusedError as refused:
        return str(refused)


@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [
        (b"", 400, "a message must be a JSON object"),
        (b"hello", 400, "a message must be a JSON object"),
        (b"[1,2]", 400, "a message must be a JSON object"),
        (b"null", 400, "a message must be a JSON object"),
        (b'{"command":"close"} x', 400, "trailing characters"),
        (b'\xef\xbb\xbf{"command":"close"}', 400, "a message must be a JSON object"),
        (b'{"\xff":1}', 400, "a message must be a JSON object"),
        (b'{"command":' + b"[" * 100_000, 400, "nested too deeply"),
        (b'{"command":5}', 400, "command must be a string"),
        (b"{}", 404, "there is no command ''; known: read_data, update_data,"),
        (b'{"command":"CLOSE"}', 404, "there is no command 'CLOSE'"),
        (b'{"command":"wait_checkpoint"}', 400, "content must be a JSON object"),
        (b'{"command":"wait_checkpoint","content":[]}', 400, "content must be a JSON object"),
    ],
)
def test_what_makes_no_sense_is_told(payload: bytes, code: int, text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_message(payload)
    assert refused.value.code == code
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        ({"identifier": 5}, 400, "identifier must be a string"),
        ({"target_count": 1.5}, 400, "target_count must be an integer"),
        ({"target_count": "2"}, 400, "target_count must be an integer"),
        ({"target_count": 2**63}, 400, "target_count must be an integer"),
        ({"target_count": 10**99}, 400, "target_count must be an integer"),
        ({"target_count": AGENTS_MAX + 1}, 400, "cannot be reached"),
        ({"identifier": "x" * (CHECKPOINT_NAME_MAX + 1)}, 413, "identifier is longer"),
    ],
)
def test_a_checkpoint_that_makes_no_sense_is_told(content: object, code: int, text: str) -> None:
    message = json.dumps({"command": "wait_checkpoint", "content": content})
    with pytest.raises(RefusedError) as refused:
        read_message(message.encode())
    assert refused.value.code == code
    assert text in str(refused.value)


def test_the_longest_name_and_the_largest_data_are_taken() -> None:
    name = "x" * CHECKPOINT_NAME_MAX
    content = {"identifier": name, "target_count": AGENTS_MAX}
    message = json.dumps({"command": "wait_checkpoint", "content": content})
    assert read_message(message.encode()) == WaitCheckpoint(name, AGENTS_MAX)
    data = b'"' + b"a" * (UPDATE_BYTES_MAX - 2) + b'"'
    assert read_message(update(data)) == UpdateData(data)
    with pytest.raises(RefusedError, match=f"larger than {UPDATE_BYTES_MAX} bytes"):
        read_message(update(data[:-1] + b'a"'))


def update(content: bytes) -> bytes:
    return b'{"command":"update_data","content":' + content + b"}"


@given(st.binary())
@example(b'{"command":"wait_checkpoint","content":{"identifier":"\\ud800"}}')
def test_any_bytes_are_a_command_or_are_refused(payload: bytes) -> None:
    with contextlib.suppress(RefusedError):
        assert isinstance(read_message(payload), Command)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_content_is_stored_as_it_was_written(value: object) -> None:
    content = json.dumps(value, ensure_ascii=False).encode()
    assert read_message(update(b" " + content + b" ")) == UpdateData(content)


def test_a_long_word_is_cut() -> None:
    assert shorten("a" * 40) == "a" * 40
    assert shorten("a" * 41) == "a" * 40 + "..."
