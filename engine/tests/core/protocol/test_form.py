"""Goal: rows and changes are read as `subscribed` described them, and anything else is refused.

Method: each form of a change; `session/test_client_changes.py` has the broken ones.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from tidewire.core.protocol.events import RowChange
from tidewire.core.protocol.form import Form, read_lsn
from tidewire.errors import ProtocolError

COLUMNS = [("id", "int8"), ("name", "text"), ("amount", "numeric")]
FORM = Form(COLUMNS, ["name", "id"])


def test_a_row_is_read_in_the_order_of_its_columns() -> None:
    assert FORM.read_row(["7", "x", "1.50"]) == (7, "x", Decimal("1.50"))
    with pytest.raises(ProtocolError, match="a row of 2 values where `subscribed` named 3"):
        FORM.read_row(["7", "x"])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            ["i", ["7", "x", None]],
            RowChange("insert", ("x", 7), {"id": 7, "name": "x", "amount": None}),
        ),
        (["u", ["x", "7"], {"amount": "1"}], RowChange("update", ("x", 7), {"amount": 1})),
        (["d", ["x", "7"]], RowChange("delete", ("x", 7), {})),
        (["k", ["x", "7"], ["y", "7"], {}], RowChange("rekey", ("y", 7), {}, ("x", 7))),
        (["t"], RowChange("truncate", (), {})),
    ],
)
def test_each_change_is_read(change: list[object], found: RowChange) -> None:
    assert FORM.read_change(change) == found


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (["x"], "no known form"),
        (["d", ["x"]], "another length"),
        (["u", ["x", "7"], {"other": 1}], "'other'"),
    ],
)
def test_a_change_that_is_none_is_refused(change: list[object], text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        FORM.read_change(change)


@pytest.mark.parametrize("key", [[], ["elsewhere"], ["id", "elsewhere"]])
def test_a_key_must_be_of_the_columns(key: list[str]) -> None:
    with pytest.raises(ProtocolError, match="none of the columns"):
        Form(COLUMNS, key)


def test_columns_have_names_of_their_own() -> None:
    with pytest.raises(ProtocolError, match="two columns of one name"):
        Form([*COLUMNS, ("id", "int4")], ["id"])


def test_equal_descriptions_are_equal() -> None:
    assert Form(COLUMNS, ["name", "id"]) == FORM
    assert hash(Form(COLUMNS, ["name", "id"])) == hash(FORM)
    assert Form(COLUMNS, ["id"]) != FORM
    assert Form(COLUMNS[:2], ["name", "id"]) != FORM
    assert FORM != "another thing"


def test_a_position_is_read_or_refused() -> None:
    assert read_lsn("1/A") == 2**32 + 10
    with pytest.raises(ProtocolError, match="not a WAL position"):
        read_lsn("soon")
