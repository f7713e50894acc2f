"""What an agent is sent as text: JSON, byte for byte as old clients know it.

The one addition is `start_at` for who comes late, and the one new frame is `error`.
"""

from __future__ import annotations

# The original's JSON is safe inside a page, so `<`, `>` and `&` never stand as they are.
_ESCAPES = str.maketrans(
    {c: f"\\u{ord(c):04x}" for c in [*map(chr, range(0x20)), *"<>&\u2028\u2029"]}
    | {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


def released(identifier: str, start_at_ms: int) -> bytes:
    """Tell who waited that enough have arrived, and when all start."""
    return (
        f'{{"command":"wait_checkpoint","content":{{"identifier":{quote(identifier)},'
        f'"finished":true,"start_at":{start_at_ms}}}}}'
    ).encode()


def released_before(identifier: str, start_at_ms: int) -> bytes:
    """Tell who comes late that the others have left, and when they started."""
    return (
        f'{{"command":"wait_checkpoint","content":{{"command":"wait_checkpoint",'
        f'"identifier":{quote(identifier)},"finished":true,"start_at":{start_at_ms}}}}}'
    ).encode()


def connection_count(count: int) -> bytes:
    """Tell how many agents a test has."""
    return f'{{"command":"get_connection_count","content":{{"count":{count}}}}}'.encode()


def error(code: int, text: str) -> bytes:
    """Tell an agent that its message had no effect."""
    return f'{{"command":"error","content":{{"code":{code},"error":{quote(text)}}}}}'.encode()


def quote(text: str) -> str:
    """Write a string as the original does."""
    return f'"{text.translate(_ESCAPES)}"'
