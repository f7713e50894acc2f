"""What an agent sends: `{"command": ..., "content": ...}`, in the JSON that old clients write.

The rule: the content is cut out of the message and never rewritten, because what is stored must
come back byte for byte. Keys are read without regard to case, unknown ones are ignored, `null`
stands for a missing value, and a text frame may hold broken UTF-8 inside its strings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from tidelab.core.coord.testsync.limits import AGENTS_MAX, CHECKPOINT_NAME_MAX, UPDATE_BYTES_MAX
from tidelab.errors import RefusedError


@dataclass(frozen=True, slots=True)
class ReadData:
    """Ask for the data of the test."""


@dataclass(frozen=True, slots=True)
class UpdateData:
    """Replace the data of the test."""

    content: bytes


@dataclass(frozen=True, slots=True)
class CountConnections:
    """Ask how many agents the test has now."""


class WaitCheckpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Arrive at a checkpoint."""

    identifier: Annotated[str, Meta(max_length=CHECKPOINT_NAME_MAX)]
    target_count: Annotated[int, Meta(ge=-(2**63), le=AGENTS_MAX)]


@dataclass(frozen=True, slots=True)
class Close:
    """Ask the server to end the connection."""


Command: TypeAlias = ReadData | UpdateData | CountConnections | WaitCheckpoint | Close
COMMANDS = ("read_data", "update_data", "get_connection_count", "wait_checkpoint", "close")


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What agents send again and again, as they usually write it."""

    command: Literal["wait_checkpoint"]
    content: WaitCheckpoint


_USUAL = msgspec.json.Decoder(_Usual)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = b"null"
_INTEGER = re.compile(rb"-?[0-9]+")
_INTEGER_DIGITS_MAX = 19  # of 64 bits
_INTEGERS = range(-(2**63), 2**63)


def read_message(payload: bytes) -> Command:
    """Read one message.

    Raises:
        RefusedError: it is no message, or asks for something that there is not.
    """
    try:
        return _USUAL.decode(payload).content
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_any(payload)


def _read_any(payload: bytes) -> Command:
    parts = _object(payload, "a message")
    name = _string(parts, "command")
    content = bytes(parts.get("content", b""))
    match name:
        case "read_data":
            return ReadData()
        case "update_data":
            if len(content) > UPDATE_BYTES_MAX:
                raise RefusedError(413, f"content is larger than {UPDATE_BYTES_MAX} bytes")
            return UpdateData(content)
        case "get_connection_count":
            return CountConnections()
        case "wait_checkpoint":
            return _wait_checkpoint(content)
        case "close":
            return Close()
        case _:
            known = ", ".join(COMMANDS)
            raise RefusedError(404, f"there is no command {shorten(name)!r}; known: {known}")


def _wait_checkpoint(content: bytes) -> WaitCheckpoint:
    parts = {} if content == _NULL else _object(content, "content")
    identifier = _string(parts, "identifier")
    if len(identifier) > CHECKPOINT_NAME_MAX:
        raise RefusedError(413, f"identifier is longer than {CHECKPOINT_NAME_MAX} characters")
    target = _integer(parts, "target_count")
    if target > AGENTS_MAX:
        raise RefusedError(
            400, f"target_count {target} cannot be reached: this server takes {AGENTS_MAX} agents"
        )
    return WaitCheckpoint(identifier, target)


def _object(text: bytes, what: str) -> Mapping[str, msgspec.Raw]:
    try:
        return {key.casefold(): value for key, value in _OBJECT.decode(text).items()}
    except RecursionError:
        raise RefusedError(400, f"{what} is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, f"{what} must be a JSON object: {error}") from None


def _string(parts: Mapping[str, msgspec.Raw], key: str) -> str:
    text = bytes(parts.get(key, _NULL))
    if text == _NULL:
        return ""
    try:
        return msgspec.json.decode(text.decode(errors="replace"), type=str)
    except msgspec.DecodeError:
        raise RefusedError(400, f"{key} must be a string") from None


def _integer(parts: Mapping[str, msgspec.Raw], key: str) -> int:
    text = bytes(parts.get(key, _NULL))
    if text == _NULL:
        return 0
    # The length comes first: numbers of many digits are slow to read.
    if not _INTEGER.fullmatch(text) or len(text.lstrip(b"-")) > _INTEGER_DIGITS_MAX:
        raise RefusedError(400, f"{key} must be an integer of 64 bits")
    if (number := int(text)) not in _INTEGERS:
        raise RefusedError(400, f"{key} must be an integer of 64 bits")
    return number


def shorten(text: str) -> str:
    """Cut what an agent wrote to what a sentence can hold."""
    return text if len(text) <= 40 else f"{text[:40]}..."
