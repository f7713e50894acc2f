"""The baseline: what a bare reader of the stream sees, and when: `reader URL SLOT PUBLICATION`.

A blocking loop around libpq's CopyBoth that notes the time of each Commit message and nothing else.
The number of a commit is the first column of the row that it inserted.

stdout: "ready"; stdin: any line is answered with a JSON list of [n, nanoseconds] since the last.
"""

from __future__ import annotations

import gc
import json
import select
import struct
import sys
import time

import psycopg
from psycopg import pq
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

HEADER = 25  # of each XLogData message
INSERT, COMMIT, KEEPALIVE = ord("I"), ord("C"), ord("k")
VALUE = 13  # where the text of the first column begins in an Insert


class Reader:
    """One replication connection and the commits that came over it."""

    def __init__(self, connection: PGconn) -> None:
        self._connection = connection
        self._seen: list[tuple[int, bytes]] = []
        self._row = b""
        self._end = 0

    def drain(self) -> None:
        """Take all messages that are there."""
        self._connection.consume_input()
        while True:
            length, data = self._connection.get_copy_data(1)
            if length < 0:
                raise RuntimeError("the stream ended")
            if not length:
                return
            kind = data[HEADER] if data[0] != KEEPALIVE else KEEPALIVE
            if kind == COMMIT:
                self._seen.append((time.monotonic_ns(), self._row))
            elif kind == INSERT:
                self._row = bytes(data[HEADER:])
            elif kind == KEEPALIVE:
                self._end = struct.unpack_from(">Q", data, 1)[0]
                self.report()

    def report(self) -> None:
        """Tell the walsender that we live."""
        message = struct.pack(">BQQQQB", ord("r"), self._end, self._end, 0, 0, 0)
        self._connection.put_copy_data(message)
        self._connection.flush()

    def take(self) -> list[tuple[int, int]]:
        """Hand over the commits since the last time."""
        seen, self._seen = self._seen, []
        return [(number_of(row), at) for at, row in seen]


def number_of(insert: bytes) -> int:
    (length,) = struct.unpack_from(">I", insert, VALUE - 4)
    return int(insert[VALUE : VALUE + length])


def connect(url: str, slot: str, publication: str) -> PGconn:
    connection = pq.PGconn.connect(f"{url}?replication=database".encode())
    command = (
        f"START_REPLICATION SLOT {slot} LOGICAL 0/0"
        f" (proto_version '1', publication_names '{publication}')"
    )
    if connection.exec_(command.encode()).status != ExecStatus.COPY_BOTH:
        raise psycopg.OperationalError(connection.get_error_message())
    connection.nonblocking = 1
    return connection


def main() -> None:
    gc.disable()
    connection = connect(*sys.argv[1:4])
    reader, poll = Reader(connection), select.epoll()
    poll.register(connection.socket, select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == connection.socket:
                reader.drain()
            elif sys.stdin.readline():
                reader.report()
                print(json.dumps(reader.take()), flush=True)
            else:
                return


if __name__ == "__main__":
    main()
