"""The replication stream: the only file that knows how to speak CopyBoth.

::

    connect -> IDENTIFY_SYSTEM -> START_REPLICATION -> read, read, ...      report, report, ...

Reading coalesces: a reader that wakes the walsender for every few messages slows it down, so while
the stream is busy the socket is left to fill for a millisecond between two drains; while it is calm
every message is taken at once.

Reports carry `write = received, flush = 0/0`: a walsender in shutdown waits until what is flushed
(or, when that is invalid, what is written) equals what it has sent, and our slot trails on purpose.
The slot is moved by one report with `flush = X`, directly followed by one with `flush = 0/0`.
"""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psycopg
from psycopg import pq
from psycopg.pq import DiagnosticField, ExecStatus, PollingStatus

from tidewire import limits
from tidewire.core.model.lsn import LSN_ZERO, Lsn, format_lsn
from tidewire.core.wal.messages import POSTGRES_EPOCH_US
from tidewire.errors import DatabaseGone
from tidewire.postgres.database import connection_string

_XLOG_HEADER = 25
_XLOG = ord("w")
_KEEPALIVE = ord("k")
_KEEPALIVE_FORMAT = struct.Struct(">BQQB")
_REPORT_FORMAT = struct.Struct(">BQQQQB")
# A drain with this many messages per millisecond means a busy stream.
_BUSY_PER_S = 15_000
_FILL_S = 0.001
# These will not pass by themselves: the slot is gone, or its WAL is (manual, appendix A).
_SLOT_LOST = ("42704", "55000")
_SLOT_IN_USE = "55006"


class SlotLost(DatabaseGone):
    """Say that the slot, or the WAL that it should have kept, is not there any more."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is: positions of another system or timeline mean other things."""

    system_id: str
    timeline: str
    flushed: Lsn


@dataclass(slots=True)
class Batch:
    """What one drain of the socket brought."""

    messages: list[bytes] = field(default_factory=list)
    size: int = 0
    progress: Lsn = LSN_ZERO
    """The newest position that the walsender has read up to, if it said so."""


class Replication:
    """One replication connection; use it as an async context manager.

    All its errors are DatabaseGone: the owner of the retry tries again.
    """

    def __init__(self, url: str) -> None:
        self._conninfo = connection_string(
            url,
            {"replication": "database", "fallback_application_name": "tidewire"},
            {
                "wal_sender_timeout": str(limits.WAL_SENDER_TIMEOUT_MS),
                "tcp_user_timeout": str(limits.TCP_USER_TIMEOUT_MS),
            },
        )
        self._pg: pq.abc.PGconn | None = None
        self._received = LSN_ZERO
        self._is_streaming = False
        self._waiting: asyncio.Future[None] | None = None
        self._broken: Exception | None = None
        self._pause_s = 0.0
        self._drained_at = 0.0
        self.is_trailing = True
        """False when commits of the application wait for us: then flush follows at once."""

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of our walsender."""
        return self._open.backend_pid

    def close(self) -> None:
        """Close the socket; the walsender then frees the slot."""
        if self._pg is not None:
            self._pg.finish()
            self._pg = None
        self._is_streaming = False

    def interrupt(self, error: Exception) -> None:
        """Make `read` raise this, now or the next time."""
        self._break(error)

    async def identify(self) -> Identity:
        """Ask which database this is."""
        result = await self._execute(b"IDENTIFY_SYSTEM", limits.QUERY_TIMEOUT_S)
        system_id, timeline, flushed = (result.get_value(0, i) or b"" for i in range(3))
        high, low = flushed.decode().split("/")
        return Identity(
            system_id.decode(), timeline.decode(), Lsn(int(high, 16) << 32 | int(low, 16))
        )

    async def own_timeout_ms(self) -> int:
        """Ask for the walsender's timeout as it is in this connection."""
        command = b"SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'"
        result = await self._execute(command, limits.QUERY_TIMEOUT_S)
        return int(result.get_value(0, 0) or b"")

    async def start(self, slot: str, publication: str, after: Lsn) -> None:
        """Begin to stream the commits that end behind a position.

        Raises SlotLost, DatabaseGone (the slot may be in use).
        """
        # Both names are made by us of [a-z0-9_] only; the replication grammar knows no parameters.
        assert (slot + publication).replace("_", "a").isalnum()
        command = (
            f'START_REPLICATION SLOT "{slot}" LOGICAL {format_lsn(after)} '
            f"(proto_version '1', publication_names '{publication}', messages 'true')"
        )
        # Decoding starts from far back; the answer comes when the slot is ours.
        await self._execute(command.encode(), limits.OLDER_TRANSACTIONS_TIMEOUT_S)
        self._received = after
        self._drained_at = time.monotonic()
        self._is_streaming = True

    async def read(self) -> Batch:
        """Wait for messages and take what is there.

        Raises DatabaseGone when the stream ends.
        """
        if self._pause_s:
            await asyncio.sleep(self._pause_s)
        while True:
            batch = self._drain()
            self._adapt(len(batch.messages))
            if batch.messages or batch.progress:
                return batch
            await self._wait(readable=True)

    def report(self, flush: Lsn = LSN_ZERO, *, wants_reply: bool = False) -> None:
        """Tell the walsender that we live, and with `flush` also move the slot.

        Raises DatabaseGone.
        """
        if not self._is_streaming:
            return
        self._check_silence()
        if not self.is_trailing:
            flush = self._received
        if flush:
            self._send_report(flush, wants_reply)
        if self.is_trailing:
            self._send_report(LSN_ZERO, wants_reply)

    # --- talking ---

    @property
    def _open(self) -> pq.abc.PGconn:
        if self._pg is None:
            raise DatabaseGone("the replication connection is closed")
        return self._pg

    def _send_report(self, flush: Lsn, wants_reply: bool) -> None:
        now_us = time.time_ns() // 1000 - POSTGRES_EPOCH_US
        message = _REPORT_FORMAT.pack(
            ord("r"), self._received, flush, LSN_ZERO, now_us, wants_reply
        )
        try:
            self._open.put_copy_data(message)
            self._open.flush()
        except psycopg.Error as error:
            # libpq may have closed the socket, and then the reader would wait for it for ever.
            self._break(DatabaseGone(_one_line(str(error))))
            raise DatabaseGone(_one_line(str(error))) from error

    def _check_silence(self) -> None:
        # Answers are asked for twice a second: a server that says nothing for long is cut off.
        silent_s = time.monotonic() - self._drained_at
        if self._waiting is not None and silent_s > limits.SILENT_S:
            self._break(DatabaseGone(f"PostgreSQL said nothing for {silent_s:.0f} s"))

    def _break(self, error: Exception) -> None:
        self._broken = error
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(limits.CONNECT_TIMEOUT_S):
                await self._poll_until_open()
        except TimeoutError:
            self.close()
            raise DatabaseGone(
                f"no replication connection within {limits.CONNECT_TIMEOUT_S:g} s"
            ) from None
        except psycopg.Error as error:
            self.close()
            raise DatabaseGone(_one_line(str(error))) from error
        except BaseException:
            self.close()
            raise
        self._open.nonblocking = 1

    async def _poll_until_open(self) -> None:
        self._pg = pq.PGconn.connect_start(self._conninfo.encode())
        while (step := self._pg.connect_poll()) != PollingStatus.OK:
            if step == PollingStatus.FAILED:
                raise DatabaseGone(_one_line(self._pg.get_error_message()))
            await self._wait(readable=step == PollingStatus.READING)

    async def _execute(self, command: bytes, timeout_s: float) -> pq.abc.PGresult:
        try:
            async with asyncio.timeout(timeout_s):
                self._open.send_query(command)
                while self._open.flush():
                    await self._wait(readable=False)
                result = await self._result()
        except TimeoutError:
            raise DatabaseGone(f"no answer from PostgreSQL within {timeout_s:g} s") from None
        except psycopg.Error as error:
            raise DatabaseGone(_one_line(str(error))) from error
        if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.COPY_BOTH):
            return result
        raise _failure(result)

    async def _result(self) -> pq.abc.PGresult:
        last: pq.abc.PGresult | None = None
        while True:
            while self._open.is_busy():
                await self._wait(readable=True)
                self._open.consume_input()
            result = self._open.get_result()
            if result is None:
                break
            last = result
            if result.status == ExecStatus.COPY_BOTH:
                break
        if last is None:
            raise DatabaseGone("the server closed the replication connection")
        return last

    async def _wait(self, *, readable: bool) -> None:
        loop = asyncio.get_running_loop()
        descriptor = self._open.socket
        ready = self._waiting = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        if readable:
            loop.add_reader(descriptor, wake)
        else:
            loop.add_writer(descriptor, wake)
        try:
            await ready
        finally:
            self._waiting = None
            if readable:
                loop.remove_reader(descriptor)
            else:
                loop.remove_writer(descriptor)

    # --- reading ---

    def _drain(self) -> Batch:
        if self._broken is not None:
            raise self._broken
        batch = Batch()
        try:
            while batch.size < limits.DRAIN_BYTES:
                self._open.consume_input()
                size_before = batch.size
                if not self._take_buffered(batch):
                    self._end()
                if batch.size == size_before:
                    break
        except psycopg.Error as error:
            raise DatabaseGone(_one_line(str(error))) from error
        return batch

    def _take_buffered(self, batch: Batch) -> bool:
        """Take what libpq has received; False when the stream has ended."""
        get_copy_data, append = self._open.get_copy_data, batch.messages.append
        while batch.size < limits.DRAIN_BYTES:
            length, data = get_copy_data(1)
            if length <= 0:
                return length == 0
            batch.size += length
            if data[0] == _XLOG:
                append(bytes(data[_XLOG_HEADER:]))
            else:
                self._keepalive(bytes(data), batch)
        return True

    def _keepalive(self, data: bytes, batch: Batch) -> None:
        if data[0] != _KEEPALIVE or len(data) < _KEEPALIVE_FORMAT.size:
            raise DatabaseGone(f"a replication message of unknown kind {data[:1]!r}")
        _, end, _, wants_reply = _KEEPALIVE_FORMAT.unpack_from(data)
        batch.progress = Lsn(end)
        self._received = max(self._received, Lsn(end))
        if wants_reply:
            self.report()

    def _end(self) -> None:
        result = self._open.get_result()
        self._is_streaming = False
        if result is not None and result.status == ExecStatus.FATAL_ERROR:
            raise _failure(result)
        raise DatabaseGone("the server ended the replication stream")

    def _adapt(self, messages: int) -> None:
        now = time.monotonic()
        elapsed, self._drained_at = now - self._drained_at, now
        is_busy = messages > 1 and messages > elapsed * _BUSY_PER_S
        self._pause_s = _FILL_S if is_busy else 0.0


def _failure(result: pq.abc.PGresult) -> DatabaseGone:
    text = _one_line((result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode())
    sqlstate = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    if sqlstate in _SLOT_LOST:
        return SlotLost(text)
    if sqlstate == _SLOT_IN_USE:
        text += (
            ": another node of this deployment has it, and this one serves nobody until that ends; "
            "an application that mounts tidewire should have one worker"
        )
    return DatabaseGone(text)


def _one_line(text: str) -> str:
    return " ".join(text.split())
