"""Goal: run ids fit into the name of a slot. Method: good ones and bad ones."""

from __future__ import annotations

import pytest

from tidelab.core.history.run import check_run_id
from tidelab.errors import HistoryError


def test_a_good_id_is_returned() -> None:
    assert check_run_id("seed_7") == "seed_7"


@pytest.mark.parametrize("run_id", ["", "Seven", "a-b", "x" * 41, "a/b"])
def test_a_bad_id_is_refused(run_id: str) -> None:
    with pytest.raises(HistoryError, match="no run id"):
        check_run_id(run_id)
