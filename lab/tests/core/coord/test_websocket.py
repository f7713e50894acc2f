"""Goal: frames are read as another implementation writes them, and what breaks the rules raises.

Method: frames of the `websockets` library, cut anywhere; its own reader is the oracle for nonsense.
"""

from __future__ import annotations

import contextlib
import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tidelab.core.coord.websocket import BrokenFrameError, Opcode, Reader, close_frame, frame

BYTES_MAX = 70_000
SIZES = (0, 1, 3, 4, 125, 126, 65_535, 65_536, BYTES_MAX)


def sent(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(TheirOpcode(opcode), payload, fin).serialize(mask=True)


def read(*chunks: bytes) -> list[tuple[Opcode, bytes]]:
    reader, found = Reader(BYTES_MAX), []
    for chunk in chunks:
        reader.feed(chunk)
        while (message := reader.next()) is not None:
            if message != (Opcode.CONTINUATION, b""):
                found.append(message)
    return found


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_any_size_are_read_and_written(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    assert read(sent(2, payload)) == [(Opcode.BINARY, payload)]
    assert frame(Opcode.TEXT, payload) == Frame(TheirOpcode.TEXT, payload).serialize(mask=False)


TALK = (
    sent(1, b"first")
    + sent(1, b"in ", fin=False)
    + sent(9, b"are you there")
    + sent(0, b"three ", fin=False)
    + sent(0, b"parts")
    + sent(2, b"y" * 300)
    + sent(10)
    + sent(8, b"\x03\xe8bye")
)
TOLD = [
    (Opcode.TEXT, b"first"),
    (Opcode.PING, b"are you there"),
    (Opcode.TEXT, b"in three parts"),
    (Opcode.BINARY, b"y" * 300),
    (Opcode.PONG, b""),
    (Opcode.CLOSE, b"\x03\xe8bye"),
]


@given(st.lists(st.integers(0, len(TALK))))
def test_bytes_may_be_cut_anywhere(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(TALK)]
    assert read(*(TALK[a:b] for a, b in itertools.pairwise(at))) == TOLD


def test_a_close_may_come_without_a_code() -> None:
    assert read(sent(8)) == [(Opcode.CLOSE, b"")]


def test_a_part_of_a_message_is_told_so_that_whoever_reads_may_rest() -> None:
    reader = Reader(BYTES_MAX)
    reader.feed(sent(1, b"a", fin=False) + sent(0, b"b", fin=False) + sent(0, b"c"))
    parts = [reader.next() for _ in range(4)]
    more = (Opcode.CONTINUATION, b"")
    assert parts == [more, more, (Opcode.TEXT, b"abc"), None]


def test_what_was_read_is_not_held() -> None:
    reader, message = Reader(1 << 20), sent(2, bytes(1 << 20))
    tracemalloc.start()
    try:
        reader.feed(message[:9])
        reader.feed(message[9:])
        assert reader.next() is not None
        assert reader.next() is None
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()


def test_bytes_may_come_one_by_one() -> None:
    assert read(*(TALK[at : at + 1] for at in range(len(TALK)))) == TOLD


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that there is not
        (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit
        (b"\x80\x80\0\0\0\0", 1002),  # a continuation of nothing
        (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", 1002),  # a message within another
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in fragments
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),  # a long ping
        (b"\x88\x81\0\0\0\0\x03", 1002),  # half a close code
        (b"\x88\x82\0\0\0\0\x03\xe7", 1002),  # close code 999
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),  # a reason that is no text
        (b"\x81\xff" + (BYTES_MAX + 1).to_bytes(8), 1009),  # known before any of it has come
        (sent(1, b"x" * BYTES_MAX, fin=False) + sent(0, b"x"), 1009),
    ],
)
def test_what_breaks_the_rules_raises(broken: bytes, code: int) -> None:
    with pytest.raises(BrokenFrameError) as found:
        read(sent(1, b"sound") + broken)
    assert found.value.code == code


FRAMES = st.builds(
    lambda opcode, fin, payload: sent(opcode, payload[:125], fin=fin or opcode >= 8),
    st.sampled_from([0, 1, 2, 9, 10]),
    st.booleans(),
    st.binary(max_size=140),
)
BENT = st.tuples(FRAMES, st.integers(0, 3), st.integers(0, 255)).map(
    lambda it: it[0][: it[1]] + bytes([it[2]]) + it[0][it[1] + 1 :]
)


PADDING = bytes(BYTES_MAX + 20)  # completes whatever frame is cut, and is none itself


@given(st.lists(FRAMES | BENT, max_size=8).map(b"".join))
def test_another_implementation_finds_the_same_until_rules_are_broken(data: bytes) -> None:
    reader, found = Reader(BYTES_MAX), list[tuple[int, bytes]]()
    reader.feed(data + PADDING)
    with contextlib.suppress(BrokenFrameError):
        while (message := reader.next()) is not None:
            if message != (Opcode.CONTINUATION, b""):
                found.append(message)
            if message[0] is Opcode.CLOSE:
                break
    assert found == theirs(data + PADDING)


def theirs(data: bytes) -> list[tuple[int, bytes]]:
    """Return the messages that `websockets` finds."""
    protocol = ServerProtocol(max_size=BYTES_MAX, state=OPEN)
    protocol.receive_data(data)
    found, kind, parts = list[tuple[int, bytes]](), 0, b""
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode >= TheirOpcode.CLOSE:
            found.append((int(event.opcode), bytes(event.data)))
            continue
        kind = kind if event.opcode is TheirOpcode.CONT else int(event.opcode)
        parts += bytes(event.data)
        if event.fin:
            found.append((kind, parts))
            parts = b""
    return found


def test_a_close_frame_has_a_reason_of_125_bytes_at_most() -> None:
    assert close_frame(1000, "") == b"\x88\x02\x03\xe8"
    long = close_frame(1002, "x" * 122 + "é")
    assert long == b"\x88\x7c\x03\xea" + b"x" * 122
