"""Every bound of the lab, with its unit and its reason."""

from __future__ import annotations

VIOLATIONS_SHOWN_MAX = 5  # of one checker: the first few tell the story, the rest repeats it

PROOF_MAX = 8  # events named as proof of one violation: more than this nobody follows

DIFFERENCES_MAX = (
    3  # row diffs made of one span: it stays wrong after the first, and a diff is slow
)

DIGESTS_KEPT_MAX = 1 << 16  # rows whose digest is remembered: about 20 MB

ROWS_SHOWN_MAX = 3  # rows named in one sentence

CONNECT_TIMEOUT_S = 10  # to get a connection: a database that needs longer is not there

FENCE_TIMEOUT_S = (
    30.0  # until the oracle has read to a position: as long as decoding 10 GB may take
)

FENCE_POLL_S = 0.01  # between two looks at the slot: short beside a decoding, long beside a CPU

READ_CHANGES_MAX = (
    20_000  # changes asked of the slot at once; PostgreSQL rounds up to whole commits
)

TRUTH_POLL_S = 0.1  # between two readings beside a run: a reading decodes, which costs the database

ENGINE_START_S = 30.0  # until a server is ready: it may have to read its window of the log again
ENGINE_STOP_S = 20.0  # a server that was asked to stop drains its clients first
ENGINE_POLL_S = 0.05  # between two looks at `/ready`
POSTGRES_STOP_S = 10.0  # a fast stop with live walsenders; more than that is a hang

CONNECT_AGAIN_S = 0.3  # the longest of the random waits of a client that found no server
SOCKET_OPEN_S = 5.0  # a handshake on the loopback interface
FRAME_BYTES_MAX = 64 * 1024 * 1024  # of a server: a part of a commit, with room
FRAMES_AHEAD = 4  # frames that a socket reads ahead: few, so that a slow client is slow
ASK_AGAIN_S = 0.5  # until a subscription that the server ended is asked for again

WRITER_TIMEOUT_S = 10  # of one statement: beyond it a lock is held by somebody who forgot it
LAST_WRITES_S = 1.0  # writing goes on for so long after the last fault: somebody must be told of it
LOG_KEPT_S = 300.0  # runs up to this lie within the 600 s and 256 MiB that a server keeps
SETTLE_TIMEOUT_S = 45.0  # for all clients to get to the end of a run: the stated deadline

BULK_TIMEOUT_S = 60  # of one statement of a fault: 1 000 000 rows, on a machine that is busy
BIG_TRANSACTION_ROWS = 100_000  # a quarter is more than a server keeps in memory
HELD_AT_LEAST_S = 0.5  # long enough that commits pile up behind what is open or stalled

FALL_ASLEEP_S = 15.0  # a second without clients, one for its copies, and a machine that is busy

# A server with neighbours gets a small bound, and looks often: minutes of log come in seconds.
WAL_BYTES = 256 * 1024 * 1024  # sixteen segments of log, half of which may be there all the time
WAL_BYTES_KEPT = WAL_BYTES // 4  # what is left for clients to go on, when the bound makes it short

assert FENCE_POLL_S * 100 < FENCE_TIMEOUT_S, "a fence must look at the slot often"
assert ENGINE_STOP_S < SETTLE_TIMEOUT_S, "whoever is restarted last must still arrive"
