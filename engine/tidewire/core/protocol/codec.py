"""Messages to bytes and back, and the one WebSocket framing that the hot path needs.

Frames from server to client are not masked (RFC 6455, 5.3), so one encoded frame serves all
sockets: `text_frame` is applied once per message, never once per client.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from tidewire.core.model.lsn import Lsn, format_lsn
from tidewire.core.model.transaction import Transaction
from tidewire.core.protocol import frames
from tidewire.errors import ProtocolError

_encode = msgspec.json.encode
_client_decoder: msgspec.json.Decoder[frames.ClientFrame]
_client_decoder = msgspec.json.Decoder(frames.ClientFrame)
_server_decoder: msgspec.json.Decoder[frames.ServerFrame]
_server_decoder = msgspec.json.Decoder(frames.ServerFrame)
# What of an error's text goes back: it may quote a frame of a megabyte.
_TEXT_CHARS = 200
# Python refuses to make an int of more digits than 4300, because it takes quadratic time.
_INT_DIGITS = 4000
_TAG_PROBLEM = re.compile(r"Invalid value '.*' - at `\$\.type`", re.DOTALL)


def decode_client(payload: bytes) -> frames.ClientFrame:
    """Read one message of a client.

    Raises ProtocolError with code `bad_frame` or `unknown_type`.
    """
    try:
        return _client_decoder.decode(payload)
    except msgspec.ValidationError as error:
        text = str(error)[:_TEXT_CHARS]
        code = "unknown_type" if _TAG_PROBLEM.match(text) else "bad_frame"
        raise ProtocolError(code, text) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError("bad_frame", f"not JSON: {str(error)[:_TEXT_CHARS]}") from None


def decode_server(payload: bytes | str) -> frames.ServerFrame:
    """Read one message of a server.

    Raises ProtocolError with code `bad_frame`.
    """
    try:
        return _server_decoder.decode(payload)
    except RecursionError:
        text = "the server's message is not understood: nested deeper than this client can read"
        raise ProtocolError("bad_frame", text) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _decode_leniently(payload, error)


def _decode_leniently(payload: bytes | str, problem: Exception) -> frames.ServerFrame:
    # PostgreSQL keeps JSON documents that a strict parser refuses: lone surrogates, numbers beyond
    # a double, numbers of thousands of digits. They are rare, and must not end a connection.
    try:
        document = json.loads(payload, parse_int=whole_number)
        return msgspec.convert(document, frames.ServerFrame)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        text = f"the server's message is not understood: {str(problem)[:_TEXT_CHARS]}"
        raise ProtocolError("bad_frame", text) from None


def whole_number(text: str) -> object:
    """Read a JSON number without a fraction, however long."""
    return int(text) if len(text) < _INT_DIGITS else Decimal(text)


def encode(frame: frames.Frame) -> bytes:
    """Write any message."""
    return _encode(frame)


def text_frame(payload: bytes) -> bytes:
    """Put a WebSocket header of a final, unmasked text frame before the payload."""
    length = len(payload)
    if length < 126:
        return b"\x81" + bytes((length,)) + payload
    if length < 65536:
        return struct.pack(">BBH", 0x81, 126, length) + payload
    return struct.pack(">BBQ", 0x81, 127, length) + payload


def payloads_of(framed: bytes) -> Iterator[bytes]:
    """Take apart what `text_frame` made, for a transport that frames by itself."""
    start = 0
    while start < len(framed):
        length = framed[start + 1]
        start += 2
        if length > 125:
            width = 2 if length == 126 else 8
            length = int.from_bytes(framed[start : start + width])
            start += width
        yield framed[start : start + length]
        start += length


def encode_chunk(shape: str, copy: str, chunk: int, rows: bytes, *, is_last: bool) -> bytes:
    """Write a chunk of a copy from rows that are JSON arrays with commas between."""
    last = b',"last":true' if is_last else b""
    return b'{"type":"snapshot","shape":"%b","copy":"%b","chunk":%d,"rows":[%b]%b}' % (
        shape.encode(),
        copy.encode(),
        chunk,
        rows,
        last,
    )


def encode_up_to_date(lsn: Lsn, tag: str, *, live: list[str] | None = None) -> bytes:
    """Write the framed message that tells a position, and which subscriptions it makes live."""
    return text_frame(encode(frames.UpToDate(lsn=format_lsn(lsn), tag=tag, live=live or [])))


def encode_part(shape: str, changes: Iterable[bytes]) -> bytes:
    """Write what one transaction did to one shape."""
    return b'{"shape":"%b","changes":[%b]}' % (shape.encode(), b",".join(changes))


def encode_commit(
    transaction: Transaction,
    parts: Iterable[bytes],
    *,
    part: int | None = None,
    last: bool = True,
    stage: bool = False,
) -> bytes:
    """Write a commit from its encoded parts; `part` and `last` only for one that is cut.

    With `stage` it is for subscriptions that are not live yet.
    """
    more = b"" if part is None else b',"part":%d,"last":%b' % (part, b"true" if last else b"false")
    if stage:
        more += b',"stage":true'
    return b'{"type":"commit","lsn":"%b","at":%d,"xid":%d,"tag":"%b","parts":[%b]%b}' % (
        format_lsn(transaction.lsn).encode(),
        transaction.at,
        transaction.xid,
        transaction.tag.encode(),
        b",".join(parts),
        more,
    )
