"""Paths and methods become commands: what one does by HTTP is what one does on the socket.

::

    GET    /v2/runs                                    list
    GET    /v2/runs/RUN                                inspect        DELETE  drop
    PUT    /v2/runs/RUN/agents/NAME                    join           POST  beat   DELETE  leave
    POST   /v2/runs/RUN/barriers/NAME?agent=A          wait           DELETE  cancel
    POST   /v2/runs/RUN/signals/NAME                   raise          GET     await
    POST   /v2/runs/RUN/topics/NAME                    publish        GET     read
    PUT    /v2/runs/RUN/keys/NAME                      put            GET     get    DELETE  delete

The fields of a command stand in the query or in a JSON body; what is published or put is the body.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from tidelab.core.coord.answer import Fault
from tidelab.core.coord.codec import fault_of_name, make_command, read_json
from tidelab.core.coord.command import Command
from tidelab.limits import COORD_POLL_MAX_S

POLL_S = COORD_POLL_MAX_S / 2  # a wait by HTTP that says nothing else

NOWHERE = "-"  # the run of requests that are for no run; nothing is ever kept there


class _Route(NamedTuple):
    verb: str
    subject: str | None = None
    """The field that the last part of the path is for."""
    payload: str | None = None
    """The field that takes the whole body."""
    patience: str | None = None
    """The field that says how long to wait: HTTP has a default of its own."""


_AGENTS = "agents"
ROUTES: dict[str, dict[str, _Route]] = {
    "runs": {"GET": _Route("list")},
    "run": {"GET": _Route("inspect", "run"), "DELETE": _Route("drop", "run")},
    _AGENTS: {"PUT": _Route("join", "agent"), "POST": _Route("beat"), "DELETE": _Route("leave")},
    "barriers": {
        "POST": _Route("wait", "barrier", patience="poll_s"),
        "DELETE": _Route("cancel", "barrier"),
    },
    "signals": {
        "POST": _Route("raise", "signal"),
        "GET": _Route("await", "signal", patience="timeout_s"),
    },
    "topics": {"POST": _Route("publish", "topic", payload="data"), "GET": _Route("read", "topic")},
    "keys": {
        "PUT": _Route("put", "key", payload="value"),
        "GET": _Route("get", "key"),
        "DELETE": _Route("delete", "key"),
    },
}


class Request(NamedTuple):
    """A command, and who asks for it."""

    run: str
    agent: str | None
    command: Command


class Refusal(NamedTuple):
    """A fault with a status of its own."""

    status: int
    fault: Fault
    headers: tuple[tuple[bytes, bytes], ...] = ()


def read_request(
    method: str, raw_path: bytes, query: bytes, body: bytes
) -> Request | Refusal | Fault:
    """Make a request of what came by HTTP."""
    match [unquote(part) for part in raw_path.decode("latin-1").rstrip("/").split("/")]:
        case ["", "v2", "runs"]:
            place, run, name = "runs", NOWHERE, ""
        case ["", "v2", "runs", run]:
            place, name = "run", run
        case ["", "v2", "runs", run, kind, name] if kind in ROUTES and kind not in ("run", "runs"):
            place = kind
        case _:
            return Refusal(404, Fault("not_found", "there is nothing here; GET /v2 lists what is"))
    route = ROUTES[place].get(method)
    if route is None:
        allowed = ", ".join(sorted(ROUTES[place]))
        refused = Fault("bad_request", f"this path takes {allowed}")
        return Refusal(405, refused, ((b"allow", allowed.encode()),))
    asked = _fields_of(route, query, body)
    if isinstance(asked, Fault):
        return asked
    agent = asked.pop("agent", None)
    if place == _AGENTS:
        agent = None if route.verb == "join" else name
        asked |= {"run": run} if route.verb == "join" else {}
    for what, text in (("run", run), ("agent", agent)):
        if text is not None and (fault := fault_of_name(what, text)):
            return fault
    if route.subject is not None:
        asked[route.subject] = name
    command = make_command({"do": route.verb, **asked})
    if isinstance(command, Fault):
        return command
    return Request(run, None if agent is None else str(agent), command)


def _fields_of(route: _Route, query: bytes, body: bytes) -> dict[str, object] | Fault:
    """Gather the fields of a command; the query goes before the body."""
    fields: dict[str, object] = {}
    if route.patience is not None:
        fields[route.patience] = POLL_S
    if body or route.payload is not None:
        value = read_json(body, dict if route.payload is None else msgspec.Raw)
        if isinstance(value, Fault):
            return value
        fields |= value if isinstance(value, dict) else {str(route.payload): value}
    asked = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    if len({name for name, _ in asked}) < len(asked):
        return Fault("bad_request", "a field stands in the query twice")
    for name, text in asked:
        fields[name] = text.split(",") if name == "roster" else text
    return fields
