"""Histories as JSON Lines: one record in one line.

The one rule: what was written can be read back as it was. A run that was killed leaves half a line
at the end, which is dropped; any other line that cannot be read is an error.
"""

from __future__ import annotations

import msgspec

from tidelab.core.history.history import History, Record
from tidelab.errors import HistoryError

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """Write one record as a line."""
    return _encoder.encode(record) + b"\n"


def decode_history(text: bytes) -> History:
    """Read all records of a run.

    Raises HistoryError.
    """
    lines = text.split(b"\n")[:-1]  # what follows the last line end is half a line, or nothing
    return History(tuple(_decode(line, number) for number, line in enumerate(lines, 1)))


def _decode(line: bytes, number: int) -> Record:
    try:
        record = _decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise HistoryError(f"line {number} is no record of a run: {error}") from None
    if record.seq != number - 1:
        raise HistoryError(f"line {number} holds record {record.seq}, expected {number - 1}")
    return record
