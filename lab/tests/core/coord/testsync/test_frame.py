"""Goal: texts for agents are the original's. Method: texts, and a JSON reader."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tidelab.core.coord.testsync import frame


def test_frames_have_the_form_that_old_clients_know() -> None:
    assert frame.released("x", 5) == (
        b'{"command":"wait_checkpoint","content":{"identifier":"x","finished":true,"start_at":5}}'
    )
    assert frame.released_before("x", 5) == (
        b'{"command":"wait_checkpoint","content":{"command":"wait_checkpoint",'
        b'"identifier":"x","finished":true,"start_at":5}}'
    )
    assert frame.connection_count(3) == (
        b'{"command":"get_connection_count","content":{"count":3}}'
    )


def test_an_error_says_what_went_wrong() -> None:
    assert json.loads(frame.error(404, 'no "x"')) == {
        "command": "error",
        "content": {"code": 404, "error": 'no "x"'},
    }


def test_what_a_page_could_misread_is_escaped() -> None:
    assert frame.quote('<\u00e9&\u2028"/>\\') == r'"\u003cé\u0026\u2028\"/\u003e\\"'
    assert frame.quote("\n\r\t\b\f\x00\x7f") == '"\\n\\r\\t\\u0008\\u000c\\u0000\x7f"'


@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    assert json.loads(frame.quote(text)) == text
