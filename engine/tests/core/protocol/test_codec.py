"""Whatever goes through the codec comes back the same, or is refused with the right code.

Method: round trips; the frame parser of the `websockets` library reads our framing; frames that
are broken in one way each.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from engine.tests.core.wal.tables import chance
from tidewire.core.model.lsn import Lsn, Xid, format_lsn
from tidewire.core.model.transaction import Transaction
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import (
    decode_client,
    decode_server,
    encode,
    encode_chunk,
    encode_commit,
    encode_part,
    encode_up_to_date,
    payloads_of,
    text_frame,
)
from tidewire.errors import ProtocolError

TRANSACTION = Transaction(Lsn(0xA_0000_00FF), Xid(0xBEEF), 1_700_000_000_000_000, (), 0, 0)


def parse_frame(data: bytes) -> tuple[Frame, bytes]:
    """Read the first WebSocket frame as a client does; return it and what follows."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parser = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as stopped:
        next(parser)
    rest = bytes(reader.buffer)
    frame = stopped.value.value
    assert isinstance(frame, Frame)
    return frame, rest


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_text_frame_of_any_length_is_read_by_a_client(length: int) -> None:
    payload = b"x" * length
    frame, rest = parse_frame(text_frame(payload) + b"next")
    assert (frame.opcode, frame.fin, bytes(frame.data), rest) == (
        Opcode.TEXT,
        True,
        payload,
        b"next",
    )
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, False)


@given(st.lists(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 70000])))
def test_text_frames_that_were_joined_are_taken_apart_again(lengths: list[int]) -> None:
    payloads = [bytes([65 + number % 26]) * length for number, length in enumerate(lengths)]
    assert list(payloads_of(b"".join(map(text_frame, payloads)))) == payloads


@pytest.mark.parametrize(("length", "header"), [(125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_length_takes_the_shortest_form(length: int, header: int) -> None:
    # RFC 6455, 5.2: "the minimal number of bytes MUST be used to encode the length"
    assert len(text_frame(b"x" * length)) == header + length


@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [
        (b'{"type":"nope"}', "unknown_type", "nope"),
        (b'{"type":"Hello","client":"a"}', "unknown_type", "Hello"),
        (b'{"type":"commit"}', "unknown_type", "commit"),
        (b'{"type":"a\\nb"}', "unknown_type", ""),
        (b'{"type":""}', "unknown_type", ""),
        (b'{"type":1}', "bad_frame", "type"),
        (b'{"type":null}', "bad_frame", "type"),
        (b"{}", "bad_frame", "type"),
        (b'{"t":1}', "bad_frame", "type"),
        (b"[]", "bad_frame", "object"),
        (b"null", "bad_frame", "object"),
        (b"", "bad_frame", "not JSON"),
        (b"{", "bad_frame", "not JSON"),
        (b'{"type":"ping"}x', "bad_frame", "not JSON"),
        (b'{"type":"hello","client":"\xff"}', "bad_frame", "not JSON"),
        (b'{"type":"hello","client":"\\ud800"}', "bad_frame", "not JSON"),
        (b'{"type":"ping","later":' + b"[" * 9999 + b"]" * 9999 + b"}", "bad_frame", "not JSON"),
        (b'{"type":"ping","t":"Invalid value \'a\' - at `$.type`"}', "bad_frame", "int"),
    ],
)
def test_what_is_not_a_frame_is_refused_with_its_code(payload: bytes, code: str, text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_client(payload)
    assert caught.value.code == code
    assert text in caught.value.text


@chance
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_no_bytes_of_a_client_do_more_than_break_the_protocol(payload: bytes) -> None:
    for data in (payload, b'{"type":"ping","t":%b}' % payload, b'{"type":"%b"}' % payload):
        try:
            decode_client(data)
        except ProtocolError as error:
            assert error.code in ("bad_frame", "unknown_type")  # noqa: PT017


def test_a_refusal_does_not_send_a_large_frame_back() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_client(b'{"type":"%b"}' % (b"x" * 1_000_000))
    assert len(caught.value.text) < 1000


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b'{"type":"hello","client":"c"}', b'{"type":"pong"}', b"\xff", "{"]
)
def test_a_server_that_is_not_understood_has_broken_the_protocol(payload: bytes | str) -> None:
    with pytest.raises(ProtocolError, match="not understood") as caught:
        decode_server(payload)
    assert caught.value.code == "bad_frame"


def test_a_server_message_nested_without_end_has_broken_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="not understood"):
        decode_server(b'{"type":"pong","t":1,"later":' + b"[" * 9999 + b"]" * 9999 + b"}")


def test_bytes_and_text_of_a_server_are_read_alike() -> None:
    payload = encode(frames.Pong(t=3))
    assert decode_server(payload) == decode_server(payload.decode()) == frames.Pong(t=3)


CHANGES = [b'["i",[1,"\xc3\xa9"]]', b'["u",[1],{"a":null}]', b'["d",[1]]', b'["t"]']


def test_a_commit_is_what_its_frame_says() -> None:
    parts = [encode_part("s1", CHANGES), encode_part("s2", [])]
    assert decode_server(encode_commit(TRANSACTION, parts)) == frames.Commit(
        lsn=format_lsn(TRANSACTION.lsn),
        at=TRANSACTION.at,
        xid=TRANSACTION.xid,
        tag=TRANSACTION.tag,
        parts=[
            frames.Part("s1", [json.loads(change) for change in CHANGES]),
            frames.Part("s2", []),
        ],
    )


@pytest.mark.parametrize(("part", "last"), [(0, False), (7, True)])
def test_a_part_of_a_commit_says_which_it_is(part: int, last: bool) -> None:
    found = decode_server(encode_commit(TRANSACTION, [], part=part, last=last))
    assert isinstance(found, frames.Commit)
    assert (found.part, found.last, found.parts) == (part, last, [])


@pytest.mark.parametrize("stage", [False, True])
@pytest.mark.parametrize(("part", "last"), [(None, True), (0, False), (3, True)])
def test_a_commit_is_written_as_its_frame_would_be(
    part: int | None, last: bool, stage: bool
) -> None:
    parts = [encode_part("s1", CHANGES)]
    written = encode_commit(TRANSACTION, parts, part=part, last=last, stage=stage)
    assert encode(decode_server(written)) == written


def test_a_commit_for_a_stage_says_so_and_another_does_not() -> None:
    for stage in (False, True):
        found = decode_server(encode_commit(TRANSACTION, [], stage=stage))
        assert isinstance(found, frames.Commit)
        assert (found.stage, found.part, found.last) == (stage, None, None)


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize(
    ("rows", "found"),
    [(b"", []), (b"[1]", [[1]]), (b'[1,"\xc3\xa9"],[2,null]', [[1, "\u00e9"], [2, None]])],
)
def test_a_chunk_is_written_as_its_frame_would_be(
    rows: bytes, found: list[list[object]], is_last: bool
) -> None:
    written = encode_chunk("s1", "node.1", 7, rows, is_last=is_last)
    frame = decode_server(written)
    assert frame == frames.Snapshot(shape="s1", copy="node.1", chunk=7, rows=found, last=is_last)
    assert encode(frame) == written


@pytest.mark.parametrize("live", [None, [], ["a", 'with " in it']])
def test_a_position_is_told_in_a_frame_ready_to_be_sent(live: list[str] | None) -> None:
    frame, rest = parse_frame(encode_up_to_date(Lsn(0xA_0000_00FF), "1-2", live=live))
    told = frames.UpToDate(lsn="A/FF", tag="1-2", live=live or [])
    assert (decode_server(bytes(frame.data)), rest) == (told, b"")


# PostgreSQL's json keeps all of these as they are; a client must not die of a neighbour's row.
@pytest.mark.parametrize(
    "document",
    [b'"\\ud800"', b"1e999", b"-1e999", b"7" * 5000],
    ids=["lone surrogate", "large exponent", "negative", "many digits"],
)
def test_a_document_that_postgres_holds_does_not_end_the_connection(document: bytes) -> None:
    part = encode_part("s1", [b'["i",[%b]]' % document])
    assert isinstance(decode_server(encode_commit(TRANSACTION, [part])), frames.Commit)


def test_a_document_nested_too_deeply_is_named_as_such() -> None:
    part = encode_part("s1", [b'["i",[%b]]' % (b"[" * 2000 + b"]" * 2000)])
    with pytest.raises(ProtocolError, match="nested deeper"):
        decode_server(encode_commit(TRANSACTION, [part]))


def test_a_message_that_is_neither_strictly_nor_leniently_right_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not understood"):
        decode_server(b'{"type":"commit","lsn":1e999}')
