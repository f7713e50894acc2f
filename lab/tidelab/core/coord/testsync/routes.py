"""Which request means what, on both ports.

The order of judgement is the original's: path, method, credentials, number of the test. A path is
cleaned before anything else, and who asked for another one is sent there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

from tidelab.core.coord.testsync import answer
from tidelab.core.coord.testsync.answer import Answer
from tidelab.core.coord.testsync.credentials import Credentials

_TEST = re.compile(r"/tests/([0-9]+)/?")
_AGENT = re.compile(r"/register/([0-9]+)(/?)")
_TEST_ID_MAX = 2**63 - 1
_TEST_ID_DIGITS = len(str(_TEST_ID_MAX))
_PLAIN = "/-_.~!$&'()*+,;=:@"  # stays as it is in a path


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an HTTP request: the path decoded, the query as it came."""

    method: str
    path: str
    query: str = ""
    authorization: str | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Keep the request's body as the data of a test that has none."""

    test_id: int


@dataclass(frozen=True, slots=True)
class Read:
    """Answer with the data of a test."""

    test_id: int


@dataclass(frozen=True, slots=True)
class Register:
    """Let an agent in, if the request is a sound handshake."""

    test_id: int


ForData: TypeAlias = Answer | Create | Read
ForAgents: TypeAlias = Answer | Register


def route_data(request: Request, credentials: Credentials) -> ForData:
    """Judge a request to the HTTP port."""
    if redirect := _clean(request):
        return redirect
    match request.path:
        case "/":
            return answer.text("A random proverb that is very intellectual.")
        case "/health":
            return answer.HEALTHY
    test = _TEST.fullmatch(request.path)
    if not test:
        return answer.NO_SUCH_PATH
    if request.method not in ("GET", "POST"):
        return answer.NO_SUCH_METHOD
    if not credentials.admit_request(request.authorization):
        return answer.NOT_AUTHORIZED
    test_id = _test_id(test[1])
    if isinstance(test_id, Answer):
        return test_id
    return Create(test_id) if request.method == "POST" else Read(test_id)


def route_agents(request: Request, credentials: Credentials) -> ForAgents:
    """Judge a request to the WebSocket port."""
    if redirect := _clean(request):
        return redirect
    if request.path == "/":
        return answer.text("WebSocket, reporting for duty!")
    agent = _AGENT.fullmatch(request.path)
    if not agent:
        return answer.NO_SUCH_PATH
    if request.method != "GET":
        return answer.NO_SUCH_METHOD
    if agent[2]:
        return answer.moved(_location(request.path.rstrip("/"), request.query))
    if not credentials.admit_socket(request.authorization, request.query):
        return answer.NOT_AUTHORIZED
    test_id = _test_id(agent[1])
    return test_id if isinstance(test_id, Answer) else Register(test_id)


def _test_id(digits: str) -> int | Answer:
    # The length comes first: numbers of many digits are slow to read.
    if len(digits.lstrip("0")) > _TEST_ID_DIGITS or int(digits) > _TEST_ID_MAX:
        return answer.error(400, f'Unable to parse testID as int: invalid integer "{digits}"')
    return int(digits)


def _clean(request: Request) -> Answer | None:
    parts: list[str] = []
    for part in request.path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    slash = "/" if parts and request.path.endswith("/") else ""
    path = f"/{'/'.join(parts)}{slash}"
    return None if path == request.path else answer.cleaned(_location(path, request.query))


def _location(path: str, query: str) -> str:
    return quote(path, safe=_PLAIN) + (f"?{query}" if query else "")
