"""Goal: who may take part is judged in the original's order. Method: headers and queries."""

from __future__ import annotations

import base64

import pytest

from tidelab.core.coord.testsync.credentials import (
    NOBODY_IS_ASKED,
    Credentials,
    read_basic,
    read_query,
)

OURS = Credentials("n\u00e4me", "pass:word")


def basic(text: str | bytes) -> str:
    encoded = text.encode() if isinstance(text, str) else text
    return "Basic " + base64.b64encode(encoded).decode()


RIGHT = basic("n\u00e4me:pass:word")
WRONG = basic("n\u00e4me:pass")
RIGHT_QUERY = "username=n%C3%A4me&password=pass%3Aword"


@pytest.mark.parametrize(
    ("authorization", "query", "request_", "socket"),
    [
        (RIGHT, "", True, True),
        (RIGHT.replace("Basic", "bASIC"), "", True, True),
        (RIGHT, "username=a&password=b", True, True),
        (WRONG, "", False, False),
        (WRONG, RIGHT_QUERY, False, False),
        (basic("other:pass:word"), "", False, False),
        (basic(":"), "", False, False),
        (None, RIGHT_QUERY, False, True),
        ("Bearer abc", RIGHT_QUERY, False, True),
        ("Basic ???", RIGHT_QUERY, False, True),
        (basic("no colon"), RIGHT_QUERY, False, True),
        (None, "username=n%C3%A4me", False, False),
        (None, "", False, False),
        ("", "", False, False),
    ],
)
def test_a_basic_header_decides_and_without_one_the_query(
    authorization: str | None, query: str, request_: bool, socket: bool
) -> None:
    assert OURS.admit_request(authorization) is request_
    assert OURS.admit_socket(authorization, query) is socket


def test_without_credentials_a_socket_is_open_and_http_wants_some_header() -> None:
    assert NOBODY_IS_ASKED.is_open
    assert NOBODY_IS_ASKED.admit_socket(None, "")
    assert NOBODY_IS_ASKED.admit_socket(basic("a:b"), "")
    assert NOBODY_IS_ASKED.admit_request(basic("a:b"))
    assert not NOBODY_IS_ASKED.admit_request(None)


@pytest.mark.parametrize("half", [Credentials("a", ""), Credentials("", "b")])
def test_half_of_the_credentials_is_asked_for(half: Credentials) -> None:
    assert not half.is_open
    assert half.admit_request(basic(f"{half.username}:{half.password}"))
    assert not half.admit_socket(None, "")
    assert half.admit_socket(None, f"username={half.username}&password={half.password}")


def test_odd_bytes_are_wrong_and_no_accident() -> None:
    assert read_basic("Basic \u00e9") is None
    assert not OURS.admit_request(basic(b"\xff\xfe:\xff"))
    assert read_query("&".join(["a=b"] * 101)) == ("", "")


def test_a_password_is_not_shown() -> None:
    assert "pass" not in repr(OURS)
