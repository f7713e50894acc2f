"""Every bound of a TestSync server, with its unit and its reason."""

from __future__ import annotations

from tidelab.limits import COORD_CLOSE_S, COORD_DRAIN_S

# --- the original's: old clients may rely on them ---

POST_BYTES_MAX = 10 * 1024 * 1024  # data of one test, by HTTP
START_DELAY_MS = 500  # from the release of a checkpoint to the common start
PING_S = 10.0  # between two pings to an agent: they keep proxies from ending the connection
REQUEST_S = 10.0  # for a whole HTTP request, and between two on one connection
ANSWER_S = 30.0  # for a client to read an answer
PLAIN_ANSWER_BYTES_MAX = 2048  # a longer answer is sent in chunks
RETENTION_S = 12 * 3600  # then data and checkpoints are forgotten, if no agent is there

# --- one agent ---

UPDATE_BYTES_MAX = 16 * 1024 * 1024  # data of one test, by socket: the original took any size
MESSAGE_BYTES_MAX = 20 * 1024 * 1024  # above that: data a bit too large get an error
UNSENT_BYTES_MAX = 256 * 1024  # to one agent; above that its commands wait until it reads
GONE_S = 30.0  # that an agent's host acknowledges nothing: three pings
CHECKPOINT_NAME_MAX = 1024  # characters: the name is sent to everybody who waits

# --- all agents ---

AGENTS_MAX = 10_000  # at once: about 4 KB each
MEETINGS_MAX = 100_000  # tests that agents have connected to: about 1 KB each
CHECKPOINTS_MAX = 500_000  # of all tests: about 350 bytes each, and the name
SHARED_BYTES_IN_MEMORY_MAX = 1 << 30  # of all tests, without SQLite: a file is better then
CONNECTIONS_MAX = 2 * AGENTS_MAX  # of one port: each agent, and one that is just coming or going
FILES_MAX = 2 * CONNECTIONS_MAX + 64  # of the process: both ports, and what else is open

# --- the server ---

DATABASE_BUSY_S = 5.0  # for another process to unlock the file
LOG_FILE_BYTES_MAX = 10 * 1024 * 1024  # then a new file is begun
LOG_FILES_KEPT = 3  # beside the one that is written

assert MESSAGE_BYTES_MAX > UPDATE_BYTES_MAX + 1024, "a full update must fit one message"
assert PING_S < GONE_S, "only what was sent can stay unacknowledged"
assert COORD_CLOSE_S < COORD_DRAIN_S, "agents are told before they are cut"
assert DATABASE_BUSY_S < REQUEST_S, "who posts hears that the file is locked"
