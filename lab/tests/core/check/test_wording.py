"""Goal: sentences name a few and count all.

Method: keys with NULL, many rows, each kind of difference.
"""

from __future__ import annotations

from lab.tests.core.scene import FIRST, Scene
from tidelab.core.check.span import Difference
from tidelab.core.check.wording import name_difference, name_key, name_keys, name_span


def test_keys_and_rows_are_named() -> None:
    assert name_key(("1", None)) == "1, NULL"
    assert name_keys([("2",), ("1",)]) == "2 rows (1; 2)"
    assert name_keys([(None,)]) == "1 row (NULL)"
    assert name_keys([(str(n),) for n in range(5)]) == "5 rows (0; 1; 2; ...)"


def test_a_difference_names_only_what_there_is() -> None:
    row = ("1",)
    assert name_difference(Difference({row: row}, {}, {})) == "1 row (1) missing"
    both = Difference({}, {row: row}, {row: (row, row)})
    assert name_difference(both) == "1 row (1) too many, 1 row (1) with other values"


def test_a_span_says_whose_it_is() -> None:
    scene = Scene(FIRST)
    scene.live()
    assert name_span(scene.evidence.traces[0].spans[0]) == "client c, subscription 's' of notes"
