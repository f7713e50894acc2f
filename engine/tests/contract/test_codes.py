"""The codes of the contract and those of the engine are one table."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tidewire.core.protocol import frames
from tidewire.core.protocol.codes import CLOSES, ERRORS

PROTOCOL = Path(__file__).resolve().parents[3] / "protocol"


def test_the_engine_has_the_codes_of_the_contract() -> None:
    contract = json.loads((PROTOCOL / "codes.json").read_text())
    assert contract["errors"] == [code._asdict() for code in ERRORS.values()]
    assert contract["closes"] == [code._asdict() for code in CLOSES.values()]


def test_the_contract_names_every_frame_and_every_field() -> None:
    page = (PROTOCOL / "PROTOCOL.md").read_text()
    for frame in (*frames.ClientFrame.__args__, *frames.ServerFrame.__args__):
        config = frame.__struct_config__
        row = re.search(rf"^\| `{config.tag}`[^|]*\|(.*)$", page, re.MULTILINE)
        assert row, f"{config.tag} is not in PROTOCOL.md"
        for field in frame.__struct_encode_fields__:
            assert re.search(rf"`[^`]*\b{field}\b", row[1]), f"{config.tag}.{field}"
