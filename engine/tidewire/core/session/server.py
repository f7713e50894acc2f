"""The server's end of one connection, as a state machine.

::

    frame        OPENING                       OPEN                    CLOSED
    hello        OPEN, `welcome`               error `unexpected`      -
    subscribe    close `bad_hello`             -> Subscribe            -
    unsubscribe  close `bad_hello`             -> Unsubscribe          -
    ack          close `bad_hello`             window moves, -> Ack    -
    wait         close `bad_hello`             -> Wait                 -
    ping         close `bad_hello`             `pong`                  -
    anything     close `bad_hello`             error, lives on         -
    (time)       close `hello_timeout`         ping, close `dead`      -
    (flood)      close `flood`                 close `flood`           -

Time comes in as `now`, the next moment at which `wake` wants to be called stands in `deadline`.
What the session cannot answer by itself (it knows no catalog and no log) it returns to the hub.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Callable
from typing import TypeAlias

from tidewire import limits
from tidewire.core.model.lsn import Lsn, format_lsn, parse_lsn
from tidewire.core.protocol import frames
from tidewire.core.protocol.codec import decode_client, encode, text_frame
from tidewire.core.protocol.codes import CLOSES, CloseCode
from tidewire.core.session.node import Node, Parts
from tidewire.core.session.outbox import Outbox
from tidewire.core.session.stage import Stage
from tidewire.core.shape.shape import Shape, ShapeId
from tidewire.errors import ProtocolError

Request: TypeAlias = frames.Subscribe | frames.Unsubscribe | frames.Ack | frames.Wait
Authenticate: TypeAlias = Callable[[str], bool]
PING = b""


class State(enum.Enum):
    """Where a connection is in its life."""

    OPENING = "opening"
    OPEN = "open"
    CLOSED = "closed"


class ServerSession:
    """One client's session; the shell feeds it frames and time and collects what it wants sent.

    `flush` is called by the hub when frames wait in the outbox or the session wants to close;
    `send_ping` when the peer was silent for a heartbeat; `abort` when it is dead or takes nothing.
    """

    __slots__ = (
        "_authenticate",
        "_heard_at",
        "_is_authenticated",
        "_pinged_at",
        "_stalled_since",
        "_tokens",
        "_tokens_at",
        "abort",
        "client",
        "closing",
        "cut",
        "deadline",
        "descriptor",
        "flush",
        "id",
        "initial",
        "is_live",
        "number",
        "outbox",
        "part",
        "pending",
        "send_ping",
        "shape_ids",
        "shapes",
        "since",
        "stages",
        "state",
        "waits",
        "write",
    )

    def __init__(
        self,
        id: str,
        now: float,
        *,
        flush: Callable[[], None],
        send_ping: Callable[[], None],
        abort: Callable[[str], None],
        authenticate: Authenticate,
        is_authenticated: bool,
    ) -> None:
        self.id = id
        self.client = ""
        self.state = State.OPENING
        self.outbox = Outbox()
        self.shapes: dict[str, Shape] = {}
        """Live subscriptions by the client's id."""
        self.shape_ids: frozenset[ShapeId] = frozenset()
        """The same as the server-wide names."""
        self.stages: list[Stage] = []
        """Subscriptions that are not live yet, in the order in which they came."""
        self.initial: set[str] = set()
        """Subscriptions that want rows: they start over with a copy."""
        self.waits: list[Lsn] = []
        """Positions that the client wants to be told of, in order."""
        self.since: dict[ShapeId, int] = {}
        """Shapes that joined while the session was behind, with the first commit for them."""
        self.pending: dict[str, frames.ShapeRequest] = {}
        """Subscriptions that wait for the database, by the client's id."""
        self.is_live = False
        """At the tail: the hub delivers new commits at once."""
        self.number = 0
        """Next commit to read from the log, when not live."""
        self.part = 0
        """Parts of that commit that were sent already."""
        self.cut: Parts | None = None
        """The parts of that commit, if it is a large one and its turn has come."""
        self.closing: tuple[CloseCode, str] | None = None
        self.flush, self.send_ping, self.abort = flush, send_ping, abort
        self.write: Callable[[bytes], object] = self._write_soon
        """Takes ready frames past the outbox: the shell puts the transport's own function here."""
        self.descriptor: int | None = None
        """Socket that commits may be written to while the session is live, past the transport."""
        self.deadline = now + limits.HELLO_S
        self._authenticate = authenticate
        self._is_authenticated = is_authenticated
        self._heard_at = self._tokens_at = now
        self._pinged_at: float | None = None
        self._stalled_since: float | None = None
        self._tokens = limits.INBOUND_FRAMES_BURST

    # --- from the client ---

    def receive(self, payload: bytes, now: float, node: Node) -> Request | None:
        """Take one frame; return what the hub has to do, if anything."""
        if self.state is State.CLOSED or not self.admit(now):
            return None
        try:
            return self._handle(decode_client(payload), node)
        except ProtocolError as error:
            if self.state is State.OPENING:
                self.close("bad_hello", error.text)
            else:
                self.refuse(error.code, error.text)
        return None

    def admit(self, now: float) -> bool:
        """Count one frame that is no message; False, and closed, when there are too many."""
        refill = (now - self._tokens_at) * limits.INBOUND_FRAMES_PER_S
        self._tokens = min(limits.INBOUND_FRAMES_BURST, self._tokens + refill)
        self._tokens_at = now
        if self._tokens < 1:
            self.close("flood", f"more than {limits.INBOUND_FRAMES_PER_S:g} frames a second")
            return False
        self._tokens -= 1
        return True

    def hear(self, now: float) -> None:
        """Note that bytes came in, whatever they were."""
        self._heard_at = now

    def _handle(self, frame: frames.ClientFrame, node: Node) -> Request | None:
        if self.state is State.OPENING:
            self._open(frame, node)
            return None
        match frame:
            case frames.Hello():
                raise ProtocolError("unexpected", "hello was said before")
            case frames.Ping(t=t):
                self.send(frames.Pong(t=t))
                return None
            case frames.Ack(n=n):
                self.outbox.acknowledge(n)
                return frame
            case frames.Wait(lsn=lsn):
                self._await(lsn)
                return frame
            case _:
                return frame

    def _open(self, frame: frames.ClientFrame, node: Node) -> None:
        if not isinstance(frame, frames.Hello):
            self.close("bad_hello", "the first frame must be hello")
            return
        if not self._is_authenticated and not self._authenticate(frame.token or ""):
            self.close("unauthorized", "the token is missing or not valid")
            return
        self.client = frame.client
        self.state = State.OPEN
        self.deadline = self._heard_at + limits.HEARTBEAT_S
        self.send(
            frames.Welcome(
                session=self.id,
                epoch=node.epoch,
                lsn=format_lsn(node.progress),
                heartbeat_s=limits.HEARTBEAT_S,
                limits={
                    "window_bytes": limits.WINDOW_BYTES,
                    "frame_bytes": limits.INBOUND_FRAME_BYTES,
                    "shapes": limits.SHAPES_PER_SESSION,
                },
            )
        )

    def _await(self, text: str) -> None:
        if len(self.waits) >= limits.WAITS:
            raise ProtocolError("too_many", f"at most {limits.WAITS} positions at a time")
        try:
            bisect.insort(self.waits, parse_lsn(text))
        except ValueError as error:
            raise ProtocolError("bad_lsn", str(error)) from None

    def reach(self, position: Lsn) -> bool:
        """Tell whether the client waits for this position or one before; now it does not."""
        count = bisect.bisect_right(self.waits, position)
        del self.waits[:count]
        return count > 0

    # --- its shapes and its place in the log, kept for the hub ---

    @property
    def subscriptions(self) -> set[str]:
        """Name all accepted subscriptions."""
        return {*self.shapes, *(id for stage in self.stages for id in stage.ids)}

    @property
    def may_go_back(self) -> bool:
        """Tell whether a subscription in the making may begin at an earlier position."""
        return not self.shapes and any(request.start for request in self.pending.values())

    def update_shape_ids(self) -> None:
        """Note that `shapes` changed."""
        self.shape_ids = frozenset(shape.id for shape in self.shapes.values())

    def reserve(self, request: frames.ShapeRequest) -> bool:
        """Set the client's id aside for a subscription in the making, or refuse it."""
        id = request.id
        taken = self.subscriptions
        if id in taken or id in self.pending:
            self.refuse("id_in_use", f"the id {id!r} is taken", id)
        elif len(taken) + len(self.pending) >= limits.SHAPES_PER_SESSION:
            text = f"at most {limits.SHAPES_PER_SESSION} shapes for one connection"
            self.refuse("too_many", text, id)
        else:
            self.pending[id] = request
            return True
        return False

    def give_up(self, id: str) -> bool:
        """Tell whether the id is of a subscription that the hub has to take away."""
        is_accepted = id in self.subscriptions
        if id in self.pending:
            del self.pending[id]
        elif not is_accepted:
            self.refuse("unknown_id", f"there is no subscription {id!r}", id)
        return is_accepted

    def settle(self, request: frames.ShapeRequest) -> bool:
        """Tell whether this very request still waits for its answer, which comes now."""
        if self.pending.get(request.id) is not request:
            return False  # given up in the meantime, and the id may be in use again
        del self.pending[request.id]
        return True

    def shapes_at(self, number: int) -> frozenset[ShapeId]:
        """Return the shapes that the commit with this number is for."""
        if not self.since:
            return self.shape_ids
        return frozenset(id for id in self.shape_ids if self.since.get(id, 0) <= number)

    def stand_at(self, number: int) -> None:
        """Take a place in the log: the commit with this number is the next to read."""
        self.number, self.part, self.cut = number, 0, None

    def retire(self) -> None:
        """Let go of everything: the socket is gone."""
        self.state = State.CLOSED
        self.shapes.clear()
        self.stages.clear()
        self.initial.clear()
        self.waits.clear()
        self.shape_ids = frozenset()
        self.pending.clear()
        self.since.clear()
        self.cut = None

    # --- to the client ---

    def send(self, frame: frames.Frame) -> None:
        """Queue a message that does not count; the hub flushes.

        A client that asks and asks but does not read is given up.
        """
        self.outbox.push(text_frame(encode(frame)))
        if self.outbox.unread_bytes > limits.WINDOW_BYTES:
            self.close("stalled", "answers wait, and more is asked")

    def send_subscribed(
        self, request: frames.ShapeRequest, shape: Shape, fingerprint: str, *, is_staged: bool
    ) -> None:
        """Accept one subscription."""
        spec = shape.spec
        mode: frames.Mode = "catchup" if request.start else "live"
        self.send(
            frames.Subscribed(
                id=request.id,
                shape=shape.id,
                table=spec.qualified_name,
                key=list(spec.key),
                columns=[(column.name, column.type_name) for column in spec.columns],
                mode="initial" if is_staged else mode,
                fingerprint=fingerprint,
            )
        )

    def send_reset(self, reason: str, epoch: str, shape: Shape | None = None) -> None:
        """Tell that one shape, or all, is not continued."""
        self.send(frames.Reset(reason=reason, epoch=epoch, shape=shape.id if shape else None))

    def refuse(self, code: str, text: str, ref: str | None = None) -> None:
        """Answer with an error; the connection lives on."""
        self.send(frames.Error(code=code, text=text, ref=ref))

    def close(self, code: str, text: str) -> None:
        """End the session: the shell sends what is queued and then this close code."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.closing = (CLOSES[code], text)
        self.flush()

    def _write_soon(self, frames_: bytes) -> None:
        self.outbox.push(frames_)
        self.flush()

    # --- time ---

    def attach(self, descriptor: int | None) -> None:
        """Note the socket behind a transport that holds nothing; None when it is not so."""
        self.descriptor = descriptor
        self.outbox.call_attention()

    def stall(self, is_blocked: bool, now: float) -> None:
        """Note that the socket takes nothing more, or takes again."""
        self.outbox.block(is_blocked)
        self._stalled_since = now if is_blocked else None
        if is_blocked:
            self.deadline = min(self.deadline, now + limits.STALLED_S)

    def wake(self, now: float) -> None:
        """Do what is due; `deadline` says when to call again."""
        if self.state is State.OPENING:
            self.close("hello_timeout", f"no hello within {limits.HELLO_S:g} s")
        elif self.state is State.CLOSED:
            self.abort("closed")
        elif self._stalled_since is not None and now >= self._stalled_since + limits.STALLED_S:
            self.abort("stalled")
        else:
            self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        if self._pinged_at is not None and self._heard_at < self._pinged_at:
            if now >= self._pinged_at + limits.DEAD_S:
                self.abort("dead")
                return
        elif now >= self._heard_at + limits.HEARTBEAT_S:
            self._pinged_at = now
            self.send_ping()
        else:
            self._pinged_at = None
        self.deadline = self._next_deadline()

    def _next_deadline(self) -> float:
        if self._pinged_at is None:
            due = self._heard_at + limits.HEARTBEAT_S
        else:
            due = self._pinged_at + limits.DEAD_S
        if self._stalled_since is None:
            return due
        return min(due, self._stalled_since + limits.STALLED_S)
