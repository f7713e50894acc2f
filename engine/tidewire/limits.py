"""Every bound of Tidewire: the unit is in the name, the reason in the comment.

Relations between bounds are asserted at the end, so that a change of one cannot break another.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- the replication stream ---
# A transaction below this stays in memory; a larger one goes to the spool, so that one bulk update
# cannot push the process over its memory.
TRANSACTION_MEMORY_BYTES: Final = 8 * MIB
# A spool file up to this stays in memory: a file costs a descriptor, and half a millisecond.
SPOOL_MEMORY_BYTES: Final = 16 * KIB
# What the spool buffers before it writes, and reads at once.
SPOOL_BLOCK_BYTES: Final = 256 * KIB
# One drain of the replication socket ends here, so that clients are served in between.
DRAIN_BYTES: Final = 1 * MIB
# The walsender is told this at connect: it frees the slot of a frozen leader after so long.
WAL_SENDER_TIMEOUT_MS: Final = 3_000
TCP_USER_TIMEOUT_MS: Final = 2_000
# Well below the walsender's timeout: several reports may be late before the slot is lost.
FEEDBACK_S: Final = 0.5
# A stream that says nothing for this long is cut off: replies are asked for every half second.
SILENT_S: Final = 10.0
# Reconnecting to PostgreSQL: first and longest wait; each is multiplied with 0.5 to 1.0.
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_LONGEST_S: Final = 5.0
# A server that stops sends all clients away at once: each comes back within this time, at a moment
# that it draws, so that thousands do not meet at the door.
RESTART_SPREAD_S: Final = 2.0
# What a server may ask a client to wait.
RETRY_AFTER_S: Final = 30
# An ordinary query of ours (catalog, publication) that takes longer is given up.
QUERY_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 10.0
# DDL is not in the stream, so the definitions of followed tables are read every so often: clients
# are wrong for at most this time after an ALTER TABLE, and the catalog is asked one cheap query.
SCHEMA_POLL_S: Final = 5.0
# Creating a slot or publishing a table waits for older transactions of the application.
OLDER_TRANSACTIONS_TIMEOUT_S: Final = 60.0

# The horizon of a published table is forgotten when so many transactions have begun since: far more
# than a log of LOG_BYTES holds, and far less than the 2^31 that a number of 32 bits can tell apart.
HORIZON_XIDS: Final = 100_000_000

# --- the log that PostgreSQL keeps for the slot ---
# At this much the slot is dropped; at half of it the window gets smaller. Large enough for a bulk
# load in one transaction, small against what fills a disk.
WAL_BYTES: Final = 8192 * MIB
# PostgreSQL keeps and recycles whole segments of 16 MiB: less than a few could not be held.
WAL_BYTES_SMALLEST: Final = 64 * MIB
# How often that is measured: a disk that takes 100 MB/s gains half a gigabyte meanwhile.
GUARD_S: Final = 5.0
# A slot that trails by more than this when a server falls asleep gets a bookmark: what lies between
# is decoded at about 4 ms for each MiB.
BOOKMARK_BYTES: Final = 8 * MIB
# Making one waits for all transactions that have written; meanwhile others wait for our connection.
BOOKMARK_TIMEOUT_S: Final = 1.0
# While nobody is there it is measured less often, the sooner the faster the log grows: a minute of
# log at 60 MB/s still fits into half of the bound.
GUARD_ASLEEP_S: Final = 10.0
GUARD_ASLEEP_LONGEST_S: Final = 60.0
# A transaction that is open for so long may be what keeps the slot from moving.
HELD_S: Final = 10.0
# After so much log without a commit of ours we commit something, or the slot could not move.
HEARTBEAT_BYTES: Final = 16 * MIB
# Where only others write the slot moves by steps of this, because each is written down.
QUIET_BYTES: Final = 8 * MIB
# The same trouble with the log is told again after so long: a person has to read it.
WARN_AGAIN_S: Final = 30.0

# --- sleeping ---
# Without clients for so long the connections to the database are closed: longer than a reload of a
# page or a restart of a client, so that these find everything open.
HIBERNATE_AFTER_S: Final = 60

# --- what the doctor recommends ---
# What a slot may keep while the server is down: a busy day of a small database.
SLOT_WAL_BYTES: Final = 10_240 * MIB
# How long a slot may be idle: a long weekend.
SLOT_IDLE_S: Final = 4 * 86_400.0
# A whole examination, however many tables there are.
EXAMINATION_S: Final = 120.0
# The answer of a server that is asked for its status: tables that wait are listed in it.
STATUS_BYTES: Final = 1 * MIB

# --- the log ---
# The window in which a client can catch up; the slot trails by it, and each START of the walsender
# decodes it again (about 0.25 s per 100 MB), so it is also the budget of a restart.
LOG_BYTES: Final = 256 * MIB
LOG_S: Final = 600.0
# Encoded commits kept for sessions that read the same part of the log one after another.
FRAME_CACHE_BYTES: Final = 16 * MIB
# A commit frame larger than this is sent in parts: bounds a socket buffer, a client's parser and
# the time for which one session keeps the loop.
COMMIT_PART_BYTES: Final = 256 * KIB
# Commits that one session looks at before others get their turn.
CATCHUP_COMMITS: Final = 500
# Commits that are joined to be sent at once, like those to live sessions; and how many such runs
# are kept for sessions that come to the same place, 2 MiB in all.
CATCHUP_BYTES: Final = 32 * KIB
CATCHUP_RUNS: Final = 64

# --- copies of tables ---
# Rows of a copy go out in chunks of about this size: a frame of its own, one acknowledgement unit.
CHUNK_BYTES: Final = 64 * KIB
# A copy in the spool, rows and the commits since; a table beyond it cannot be copied.
COPY_BYTES: Final = 4096 * MIB
# Tables that are copied at the same time: each takes a connection and a snapshot of the database.
COPIES_AT_ONCE: Final = 4
# A copy outlives its last reader by so long, for clients that lost their connection.
COPY_KEEP_S: Final = 60.0
# A copy that cannot begin (the database is away, the log is behind) is tried again for so long.
COPY_RETRY_S: Final = 60.0
# A snapshot of the database holds back vacuum: the copy is given up after so long.
COPY_S: Final = 3_600.0

# --- one connection ---
# Bytes under way to a client that it has not acknowledged: enough for 100 Mbit/s at 80 ms.
WINDOW_BYTES: Final = 1 * MIB
# Where acknowledgements become bytes again: one note per so many bytes sent.
WINDOW_MARK_BYTES: Final = 32 * KIB
# What the transport may hold before its session waits at its cursor: nothing, the kernel's buffer
# is enough. It also makes uvloop write at once instead of at the end of its turn.
SOCKET_BUFFER_BYTES: Final = 0
# What another ASGI server, in which we are mounted, has not taken from us before the session waits
# at its cursor: several commits, so that a live client stays live.
RELAY_BYTES: Final = 64 * KIB
# One frame of a client: subscriptions and mutations are small.
INBOUND_FRAME_BYTES: Final = 1 * MIB
# Frames of a client: sustained rate and burst; beyond that the connection is closed.
INBOUND_FRAMES_PER_S: Final = 200.0
INBOUND_FRAMES_BURST: Final = 400.0
# Shapes of one connection, and shapes in one frame.
SHAPES_PER_SESSION: Final = 100
# A condition, its parameters and the columns of one shape.
WHERE_CHARS: Final = 10_000
PARAMS: Final = 1_000
COLUMNS: Final = 1_600
# Positions that one connection waits for at a time.
WAITS: Final = 100
# A whole HTTP request, handshakes included, must come within this time.
REQUEST_S: Final = 10.0
# `hello` must come within this time after the handshake.
HELLO_S: Final = 5.0
# A ping goes out when a connection was silent for this long; below the usual 60 s of proxies.
HEARTBEAT_S: Final = 25.0
# No byte for this long after the ping: the peer is dead.
DEAD_S: Final = 20.0
# A socket that takes nothing for this long while data wait is given up.
STALLED_S: Final = 60.0
# The other side answers our close frame within this time, or the socket is cut.
CLOSE_S: Final = 5.0
# Text in a close frame (RFC 6455: 125 bytes less the code).
CLOSE_REASON_BYTES: Final = 123
# Names that clients choose: ids of shapes, client ids.
NAME_CHARS: Final = 200

# --- conditions ---
# Parentheses, NOT, and AND within OR: far from the end of Python's stack and of its parser's.
WHERE_DEPTH: Final = 32
# Constants of one IN or ANY.
WHERE_VALUES: Final = 10_000
# Conditions that differ in nothing but values share their code; so many kinds of them are kept.
CONDITION_FORMS: Final = 100
# A pattern of LIKE, which is searched for in every row.
LIKE_CHARS: Final = 1_000

# --- the node ---
CONNECTIONS: Final = 20_000
# Open files beside those of the connections: the spool has one for each copy that is not small, and
# PostgreSQL, the port and the loop have a few.
SPARE_FILES: Final = 1_000
# Progress without rows is told at most this often.
PROGRESS_S: Final = 1.0

# --- the Python client ---
# Commits that wait for a consumer; beyond that it is told that it lagged.
CLIENT_COMMITS: Final = 10_000
# The same in changes of rows; a single commit may be larger.
CLIENT_CHANGES: Final = 500_000
# A subscription that the server cannot take now is asked for again for so long, before it fails.
SUBSCRIBE_S: Final = 30.0
# Waiting for a position: the rows of a commit are usually there in milliseconds.
WAIT_FOR_S: Final = 10.0
# Positions that are asked for per second; the others are told with the progress of each second.
WAITS_PER_S: Final = 50.0
# One message of the server; a part of a commit plus its envelope, with room.
CLIENT_MESSAGE_BYTES: Final = 64 * MIB
# Rows that have changed and are not in the store's file; beyond that the client reads no more from
# its server until the file has caught up.
STORE_BEHIND_ROWS: Final = 100_000
# The log beside the file of a store keeps its size after a large copy; this is how much.
STORE_LOG_BYTES: Final = 16 * MIB
# What the program has not asked for again so long after it began is forgotten by its store.
STORE_UNASKED_S: Final = 60.0
# Closing a client waits so long for the last batch to be written, which goes on if it takes longer.
STORE_CLOSE_S: Final = 30.0

assert FEEDBACK_S * 1000 * 3 <= WAL_SENDER_TIMEOUT_MS, "a leader must not lose its slot by chance"
assert HEARTBEAT_S < 60, "proxies cut idle connections after 60 s"
assert QUIET_BYTES <= HEARTBEAT_BYTES, "the slot must follow each heartbeat"
assert COMMIT_PART_BYTES * 2 <= WINDOW_BYTES, "a window must hold more than one part"
assert LOG_BYTES * 4 <= SLOT_WAL_BYTES, "a slot trails by the log, and its server may be away"
assert WAITS_PER_S * 2 <= INBOUND_FRAMES_PER_S, "a client that waits is no flood"
assert CATCHUP_BYTES <= WINDOW_MARK_BYTES, "a run is acknowledged as a whole"
assert CHUNK_BYTES * 4 <= WINDOW_BYTES, "a window must hold several chunks"
assert WINDOW_MARK_BYTES * 8 <= WINDOW_BYTES, "acknowledgements must be finer than the window"
assert LOG_BYTES <= 256 * MIB, "a restart re-reads the window: 0.25 s per 100 MB at hand-over"
assert TRANSACTION_MEMORY_BYTES * 4 <= LOG_BYTES, "the log must hold more than one transaction"
