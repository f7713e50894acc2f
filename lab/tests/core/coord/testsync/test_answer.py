"""Goal: answers have the headers that clients look at. Method: answers as values."""

from __future__ import annotations

from tidelab.core.coord.testsync import answer
from tidelab.core.coord.testsync.answer import Answer


def names(reply: Answer, method: str = "GET") -> dict[str, str]:
    return dict(reply.headers_for(method))


def test_short_answers_have_a_length_and_long_ones_come_in_chunks() -> None:
    assert names(Answer(200, b"a" * 2048)) == {"Content-Length": "2048"}
    assert names(Answer(200, b"a" * 2049)) == {}
    assert names(Answer(200)) == {"Content-Length": "0"}


def test_to_head_the_length_is_told_where_there_is_a_body() -> None:
    assert names(answer.text("x"), "HEAD")["Content-Length"] == "2"
    assert names(answer.NO_SUCH_METHOD, "HEAD") == {}


def test_data_have_the_type_that_they_look_like_and_never_run() -> None:
    page = names(answer.data(b"<p>"))
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert page["Content-Security-Policy"] == "sandbox"
    assert names(answer.data(b"")) == {"Content-Length": "0"}


def test_a_place_is_written_into_a_page_safely() -> None:
    reply = answer.moved("/register/1?a=1&b='<x>\"")
    assert b"<x>" not in reply.body
    assert b"&amp;b=&#x27;&lt;x&gt;&quot;" in reply.body


def test_errors_are_json_and_a_line() -> None:
    assert answer.error(400, 'a "b"').body == b'{"code":400,"error":"a \\"b\\""}\n'
