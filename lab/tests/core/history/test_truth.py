"""Goal: tables know where their columns stand. Method: ask for one that is there, and one not."""

from __future__ import annotations

import pytest

from tidelab.core.history.truth import Column, Table


def test_columns_are_found_by_name() -> None:
    table = Table("t", ("a",), (Column("a", "int8"), Column("b", "text")))
    assert table.index_of("b") == 1
    with pytest.raises(ValueError, match="not in list"):
        table.index_of("c")
