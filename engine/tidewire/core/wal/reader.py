"""The one reader of binary messages: every read is checked against the end of the message.

A failed read raises `DecodeError` with the names of message and field and the offset, so that a
report from the field can be understood without the bytes at hand.
"""

from __future__ import annotations

import struct

from tidewire.errors import DecodeError

_FORMATS = {
    1: struct.Struct(">B"),
    2: struct.Struct(">H"),
    4: struct.Struct(">I"),
    8: struct.Struct(">Q"),
}


class Layout:
    """A message of a kind byte and then numbers, each of a fixed width: read in one step."""

    def __init__(self, message: str, **widths: int) -> None:
        self._message = message
        self._widths = widths
        self._numbers = struct.Struct(
            ">" + "".join(_FORMATS[w].format[1:] for w in widths.values())
        )

    def read(self, data: bytes) -> tuple[int, ...]:
        """Read all numbers, in order."""
        if len(data) == 1 + self._numbers.size:
            return self._numbers.unpack_from(data, 1)
        reader = Reader(self._message, data, 1)
        for field, width in self._widths.items():
            reader.unsigned(field, width)
        raise reader.left_over()


class Reader:
    """Walk over one message, field by field."""

    __slots__ = ("_bytes", "_field_at", "_message", "offset")

    def __init__(self, message: str, data: bytes, offset: int = 0) -> None:
        self._message = message
        self._bytes = data
        self.offset = offset
        self._field_at = offset

    def unsigned(self, field: str, width: int) -> int:
        """Read a big-endian unsigned number of 1, 2, 4 or 8 bytes."""
        start = self._advance(field, width)
        value: int = _FORMATS[width].unpack_from(self._bytes, start)[0]
        return value

    def signed32(self, field: str) -> int:
        """Read a big-endian signed number of 4 bytes."""
        value = self.unsigned(field, 4)
        return value - (1 << 32) if value >> 31 else value

    def utf8(self, field: str, length: int) -> str:
        """Read exactly `length` bytes of text."""
        start = self._advance(field, length)
        return self._decode(field, start, start + length)

    def text(self, field: str) -> str:
        """Read UTF-8 text that a zero byte ends."""
        self._field_at = self.offset
        end = self._bytes.find(b"\0", self.offset)
        if end < 0:
            raise self.error(field, "text without its closing zero byte")
        start, self.offset = self.offset, end + 1
        return self._decode(field, start, end)

    def end(self) -> None:
        """Insist that nothing is left over."""
        if self.offset != len(self._bytes):
            raise self.left_over()

    def left_over(self) -> DecodeError:
        """Make the error for what follows the last field."""
        self._field_at = self.offset
        return self.error("end", f"{len(self._bytes) - self.offset} bytes left over")

    def error(self, field: str, problem: str) -> DecodeError:
        """Make the error for the field that was read last: its value cannot be right."""
        return DecodeError(self._message, field, self._field_at, problem)

    def _decode(self, field: str, start: int, end: int) -> str:
        try:
            return self._bytes[start:end].decode()
        except UnicodeDecodeError as error:
            raise DecodeError(self._message, field, start + error.start, "not UTF-8") from None

    def _advance(self, field: str, length: int) -> int:
        start = self._field_at = self.offset
        if start + length > len(self._bytes):
            have = max(0, len(self._bytes) - start)
            raise self.error(field, f"{length} bytes expected, {have} left")
        self.offset = start + length
        return start
