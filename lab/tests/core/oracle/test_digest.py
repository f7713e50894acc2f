"""Goal: the digest of a set follows it row by row.

Method: random steps against naive recomputation.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidelab.core.history.truth import Row
from tidelab.core.oracle.digest import EMPTY, digest_of, row_digest, with_row, without_row

VALUES = st.none() | st.text(max_size=4)
ROWS = st.tuples(VALUES, VALUES)


@given(st.lists(st.tuples(st.booleans(), ROWS)))
def test_the_kept_digest_is_the_naive_one(steps: list[tuple[bool, Row]]) -> None:
    rows: set[Row] = set()
    digest = EMPTY
    for is_added, row in steps:
        if is_added and row not in rows:
            rows.add(row)
            digest = with_row(digest, row)
        elif not is_added and row in rows:
            rows.remove(row)
            digest = without_row(digest, row)
        assert digest == digest_of(rows)


@given(ROWS, ROWS)
def test_different_rows_have_different_digests(one: Row, other: Row) -> None:
    assert (row_digest(one) == row_digest(other)) == (one == other)


def test_null_is_no_text() -> None:
    assert len({row_digest(row) for row in [(None,), ("None",), ("",), ("\udcff",), ()]}) == 5
