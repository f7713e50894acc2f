"""Text from outside becomes a command or a fault, and answers become text.

The one rule: nothing that comes from outside raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast, get_args

import msgspec
from msgspec import Raw

from tidelab.core.coord.answer import Answer, Body, Fault, Push
from tidelab.core.coord.command import (
    NAME_IN_WORDS,
    NAME_PATTERN,
    AnyCommand,
    Command,
    Name,
    RequestId,
)
from tidelab.limits import COORD_DEPTH_MAX

COMMANDS: dict[str, type[Command]] = {
    kind.__name__.lower(): kind for kind in cast("tuple[type[Command], ...]", get_args(AnyCommand))
}
_decoder: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_encoder = msgspec.json.Encoder()
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class _Head(msgspec.Struct):
    id: RequestId | None = None


class _Verb(msgspec.Struct):
    do: str


_head = msgspec.json.Decoder(_Head)
_verb = msgspec.json.Decoder(_Verb)


def decode_command(text: bytes) -> Command | Answer:
    """Read one frame; what cannot be read is answered with a fault, under its id if it has one."""
    if fault := fault_of_text(text):
        return Answer(id=_id_of(text), error=fault)
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        return Answer(id=_id_of(text), error=_fault(text, error))


def make_command(fields: Mapping[str, object]) -> Command | Fault:
    """Make a command of fields, as HTTP requests carry them: numbers may be texts."""
    try:
        return cast("Command", msgspec.convert(fields, type=AnyCommand, strict=False))
    except msgspec.ValidationError as error:
        return Fault("bad_request", _told(error))


def read_json(text: bytes, kind: type[Raw | dict[str, object]]) -> Raw | dict[str, object] | Fault:
    """Read a text as one value, which is kept as it was written, or as fields."""
    if fault := fault_of_text(text):
        return fault
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        return Fault("bad_request", f"the body: {error}")


def fault_of_name(kind: str, name: object) -> Fault | None:
    """Tell why a name cannot be one, if so."""
    try:
        msgspec.convert(name, type=Name)
    except msgspec.ValidationError as error:
        return Fault("bad_request", f"{_told(error)} - the name of the {kind}")
    return None


def encode(message: Answer | Push | Fault | Body) -> bytes:
    """Write one frame."""
    return _encoder.encode(message)


def fault_of_text(text: bytes) -> Fault | None:
    """Tell why a text cannot be passed on as JSON, if so.

    A value is kept as it was written, so what it contains is looked at here or never.
    """
    try:
        text.decode()
    except UnicodeDecodeError:
        return Fault("bad_request", "the text is not UTF-8")
    if depth_of(text) > COORD_DEPTH_MAX:
        return Fault("bad_request", f"JSON is nested deeper than {COORD_DEPTH_MAX} levels")
    return None


def depth_of(text: bytes) -> int:
    """Count how deep arrays and objects lie in one another."""
    if text.count(b"{") + text.count(b"[") <= COORD_DEPTH_MAX:
        return 0
    depth = deepest = 0
    for byte in _STRING.sub(b"", text):
        if byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _id_of(text: bytes) -> int | str | None:
    try:
        return _head.decode(text).id
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _fault(text: bytes, error: msgspec.MsgspecError) -> Fault:
    try:
        verb = _verb.decode(text).do
    except msgspec.MsgspecError:
        verb = None
    if verb is not None and verb not in COMMANDS:
        known = ", ".join(sorted(COMMANDS))
        return Fault("unknown_command", f"there is no command {verb[:40]!r}; known: {known}")
    return Fault("bad_request", _told(error))


def _told(error: msgspec.MsgspecError) -> str:
    return str(error).replace(f"`str` matching regex {NAME_PATTERN!r}", NAME_IN_WORDS)
