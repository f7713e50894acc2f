"""WebSocket frames as a server reads and writes them (RFC 6455), without extensions.

The one rule: whatever is read was complete. A message in fragments comes out as one, with its last;
control frames come out between them, and what breaks the rules raises, once and for all.
"""

from __future__ import annotations

from enum import IntEnum


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_LAST, _RESERVED, _OPCODE = 0x80, 0x70, 0x0F
_MASKED, _SIZE = 0x80, 0x7F
_SIZE_OF_16_BITS, _SIZE_OF_64_BITS = 126, 127
_OPCODES = frozenset(Opcode)
_WHOLE = {_LAST | Opcode.TEXT: Opcode.TEXT, _LAST | Opcode.BINARY: Opcode.BINARY}
"""First bytes of messages in one frame, which nearly all are."""
_CONTROL_BYTES_MAX = 125
_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))
"""What a close frame may carry (RFC 6455, 7.4)."""


class BrokenFrameError(Exception):
    """The other end broke the rules: `code` and the text are the close frame that tells it so."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Reader:
    """Bytes of a client become messages."""

    __slots__ = ("_at", "_bytes_max", "_data", "_kind", "_parts")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._data: bytes | bytearray = b""
        self._at = 0
        self._kind: Opcode | None = None
        """Of the message whose fragments are being read ..."""
        self._parts: bytes | bytearray = b""
        """... and what has come of it."""

    def feed(self, data: bytes) -> None:
        """Take what the socket gave."""
        if self._at == len(self._data):
            self._data, self._at = data, 0
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        del self._data[: self._at]
        self._data += data
        self._at = 0

    def next(self) -> tuple[Opcode, bytes] | None:
        """Return a message or a control frame; None when more bytes are needed.

        A fragment that is not the last is an empty continuation: work was done, and there may be
        more. Raises BrokenFrameError; whoever was told so reads no further.
        """
        frame = self._frame()
        if frame is None:
            return None
        first, payload = frame
        if self._kind is None and first in _WHOLE:
            return _WHOLE[first], payload
        opcode = Opcode(first & _OPCODE)
        if opcode >= Opcode.CLOSE:
            if opcode is Opcode.CLOSE:
                _judge_close(payload)
            return opcode, payload
        if self._kind is None:
            self._kind, self._parts = opcode, bytearray()
        self._parts += payload
        if not first & _LAST:
            return Opcode.CONTINUATION, b""
        kind, whole = self._kind, bytes(self._parts)
        self._kind, self._parts = None, b""
        return kind, whole

    def _frame(self) -> tuple[int, bytes] | None:
        """Return the first byte and the payload of a frame."""
        data, at = self._data, self._at
        have = len(data) - at
        if have < 2:
            if not have:
                self._data, self._at = b"", 0  # what was large is not held until more comes
            return None
        first, size, before = data[at], data[at + 1] & _SIZE, 6
        if self._kind is not None or first not in _WHOLE or data[at + 1] < _MASKED:
            self._judge(first, data[at + 1])
        if size >= _SIZE_OF_16_BITS:
            before = 8 if size == _SIZE_OF_16_BITS else 14
            if have < before - 4:
                return None
            size = int.from_bytes(data[at + 2 : at + before - 4])
        if len(self._parts) + size > self._bytes_max:
            raise BrokenFrameError(1009, f"a message has at most {self._bytes_max} bytes")
        if have < before + size:
            return None
        begin = at + before
        end = self._at = begin + size
        return first, _unmask(data[begin:end], data[begin - 4 : begin])

    def _judge(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if first & _RESERVED or opcode not in _OPCODES:
            raise BrokenFrameError(1002, "there is no such frame")
        if not second & _MASKED:
            raise BrokenFrameError(1002, "frames of a client are masked")
        if opcode >= Opcode.CLOSE:
            if not first & _LAST or second & _SIZE > _CONTROL_BYTES_MAX:
                raise BrokenFrameError(1002, "a control frame is short, and whole")
        elif (opcode == Opcode.CONTINUATION) != (self._kind is not None):
            raise BrokenFrameError(1002, "a message ends before the next one begins")


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """Write a frame of a server."""
    return head(opcode, len(payload)) + payload


def head(opcode: Opcode, size: int) -> bytes:
    """Write what stands before a payload of a size."""
    if size < _SIZE_OF_16_BITS:
        return bytes((_LAST | opcode, size))
    if size < 1 << 16:
        return bytes((_LAST | opcode, _SIZE_OF_16_BITS)) + size.to_bytes(2)
    return bytes((_LAST | opcode, _SIZE_OF_64_BITS)) + size.to_bytes(8)


def close_frame(code: int, reason: str) -> bytes:
    """Write a close frame; the reason is cut to what fits."""
    text = reason.encode()[: _CONTROL_BYTES_MAX - 2].decode(errors="ignore")
    return frame(Opcode.CLOSE, code.to_bytes(2) + text.encode())


def _unmask(payload: bytes | bytearray, key: bytes | bytearray) -> bytes:
    # As numbers, because a loop over bytes would take a hundred times as long.
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return number.to_bytes(size, "little")


def _judge_close(payload: bytes) -> None:
    if not payload:
        return
    if len(payload) < 2 or int.from_bytes(payload[:2]) not in _CODES:
        raise BrokenFrameError(1002, "there is no such close code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise BrokenFrameError(1007, "the reason is not UTF-8") from None
