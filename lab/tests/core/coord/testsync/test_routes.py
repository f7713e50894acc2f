"""Goal: requests mean what they meant to the original. Method: heads of requests in, routes out."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelab.core.coord.testsync import answer
from tidelab.core.coord.testsync.answer import Answer
from tidelab.core.coord.testsync.credentials import NOBODY_IS_ASKED, Credentials
from tidelab.core.coord.testsync.routes import (
    Create,
    Read,
    Register,
    Request,
    route_agents,
    route_data,
)

ANY = "Basic Og=="  # an empty name and an empty password
CLOSED = Credentials("a", "b")
LARGEST = 2**63 - 1


def data(method: str, path: str, authorization: str | None = ANY) -> object:
    return route_data(Request(method, path, "", authorization), NOBODY_IS_ASKED)


def agents(method: str, path: str, query: str = "") -> object:
    return route_agents(Request(method, path, query), NOBODY_IS_ASKED)


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/tests/1", Read(1)),
        ("GET", "/tests/007/", Read(7)),
        ("POST", "/tests/1", Create(1)),
        ("GET", f"/tests/{LARGEST}", Read(LARGEST)),
        ("GET", f"/tests/{'0' * 50}{LARGEST}", Read(LARGEST)),
        ("PATCH", "/health", answer.HEALTHY),
        ("GET", "/tests/\u0663", answer.NO_SUCH_PATH),
        ("GET", "/tests/1\n", answer.NO_SUCH_PATH),
        ("PUT", "/tests/x", answer.NO_SUCH_PATH),
        ("PUT", "/tests/1", answer.NO_SUCH_METHOD),
        ("GET", "/register/1", answer.NO_SUCH_PATH),
    ],
)
def test_requests_for_data(method: str, path: str, route: object) -> None:
    assert data(method, path) == route


def test_data_need_a_header() -> None:
    assert data("GET", "/tests/1", None) == answer.NOT_AUTHORIZED
    assert data("PUT", "/tests/1", None) == answer.NO_SUCH_METHOD


@pytest.mark.parametrize("digits", [str(LARGEST + 1), "9" * 20, "1" * 5000])
def test_a_number_that_is_too_large_is_named(digits: str) -> None:
    for reply in (data("GET", f"/tests/{digits}"), agents("GET", f"/register/{digits}")):
        assert isinstance(reply, Answer)
        assert reply.status == 400
        assert f'invalid integer \\"{digits}\\"'.encode() in reply.body


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("//tests//1", "/tests/1"),
        ("/tests/./1/", "/tests/1/"),
        ("/tests/../health", "/health"),
        ("/../..", "/"),
        ("//evil.example", "/evil.example"),
        ("/a b//\u00e9\r\n", "/a%20b/%C3%A9%0D%0A"),
        ("*", "/*"),
    ],
)
def test_paths_are_cleaned_before_anything_else(path: str, place: str) -> None:
    assert data("PUT", path, None) == answer.cleaned(place)
    assert agents("PUT", path, "a=1") == answer.cleaned(f"{place}?a=1")


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/register/31", Register(31)),
        ("POST", "/register/31", answer.NO_SUCH_METHOD),
        ("POST", "/register/31/", answer.NO_SUCH_METHOD),
        ("GET", "/register/31/", answer.moved("/register/31?a=1&b=2")),
        ("GET", "/register/x", answer.NO_SUCH_PATH),
        ("GET", "/health", answer.NO_SUCH_PATH),
        ("POST", "/", answer.text("WebSocket, reporting for duty!")),
    ],
)
def test_requests_of_agents(method: str, path: str, route: object) -> None:
    assert agents(method, path, "a=1&b=2") == route


def test_agents_need_credentials() -> None:
    request = Request("GET", "/register/1")
    assert route_agents(request, CLOSED) == answer.NOT_AUTHORIZED


@given(st.text(st.sampled_from("ab/.%\u00e9\n")), st.sampled_from(["GET", "POST", "HEAD"]))
def test_a_clean_path_is_on_this_server_and_stays(path: str, method: str) -> None:
    reply = data(method, f"/{path}")
    if isinstance(reply, Answer) and reply.status == 301:
        place = dict(reply.headers)["Location"]
        assert place.startswith("/")
        assert not place.startswith("//")
        assert "\n" not in place
        again = data(method, unquote(place))
        assert not isinstance(again, Answer) or again.status != 301
