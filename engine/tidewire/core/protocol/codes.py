"""Error and close codes: the same table as `protocol/codes.json`, against which it is tested."""

from __future__ import annotations

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """A refusal inside an `error` or `reset` frame; the connection lives on."""

    name: str
    retry: bool
    """The same request may succeed later."""
    text: str


class CloseCode(NamedTuple):
    """The end of a connection; `retry` tells whether a client should come back by itself."""

    name: str
    number: int
    retry: bool
    text: str


ERRORS = {
    code.name: code
    for code in (
        ErrorCode(
            "bad_frame", False, "The frame is not JSON or not of the form that its type has."
        ),
        ErrorCode("unknown_type", False, "The frame's type is not one of this protocol version."),
        ErrorCode("unexpected", False, "The frame is not allowed in this state of the connection."),
        ErrorCode("id_in_use", False, "The connection has a subscription with this id already."),
        ErrorCode("unknown_id", False, "The connection has no subscription with this id."),
        ErrorCode("too_many", False, "The connection has reached a limit of `welcome.limits`."),
        ErrorCode("bad_ack", False, "The number acknowledged was never sent, or goes back."),
        ErrorCode("bad_lsn", False, "The position is not two hexadecimal halves, X/Y."),
        ErrorCode("unknown_table", False, "There is no such table, or it may not be read."),
        ErrorCode("unsupported_table", False, "The table cannot be followed; the text says why."),
        ErrorCode("unknown_column", False, "The table has no such column that can be followed."),
        ErrorCode("bad_where", False, "PostgreSQL refuses the condition; the text says why."),
        ErrorCode("unsupported_where", False, "The condition is sound SQL but cannot be followed."),
        ErrorCode("bad_params", False, "The parameters do not fit the condition."),
        ErrorCode("too_large", False, "The copy of the table would exceed the server's limit."),
        ErrorCode("unavailable", True, "The database cannot be asked now."),
        ErrorCode("not_supported", False, "This server does not do that yet; the text says what."),
        ErrorCode("lagged", True, "The reader fell off the log: start over."),
        ErrorCode(
            "other_history",
            True,
            "Another history, or the table was altered meanwhile: start over.",
        ),
        ErrorCode("schema_changed", True, "The table changed under the shape: subscribe again."),
    )
}

CLOSES = {
    code.name: code
    for code in (
        CloseCode("normal", 1000, False, "Nothing is left to do."),
        CloseCode("protocol_error", 1002, False, "The frame breaks RFC 6455."),
        CloseCode("binary_frame", 1003, False, "Frames are text."),
        CloseCode("bad_utf8", 1007, False, "Text frames are UTF-8."),
        CloseCode("too_big", 1009, False, "The frame exceeds the limit."),
        CloseCode("internal", 1011, True, "The server failed; its log says why."),
        CloseCode("restart", 1012, True, "The server stops; another will be there soon."),
        CloseCode("overloaded", 1013, True, "The server has no room for this now."),
        CloseCode("bad_hello", 4400, False, "The first frame is not a proper `hello`."),
        CloseCode("unauthorized", 4401, False, "The token is missing or not valid."),
        CloseCode("hello_timeout", 4408, True, "No `hello` came in time."),
        CloseCode("stalled", 4410, True, "The socket took nothing for too long."),
        CloseCode("dead", 4411, True, "No answer to a ping."),
        CloseCode("flood", 4429, False, "Too many frames."),
    )
}
CLOSE_BY_NUMBER = {code.number: code for code in CLOSES.values()}
