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
BIG_ROWS_MAX = 1_000_000  # that a plan may ask for: in and out are 200 of the 256 MiB of a log
BIG_ROW_BYTES = 20  # of their large column: many rows are asked for, not much text
BIG_ROWS_PER_S = 20_000  # read of them at least, by server, oracle and clients side by side
HELD_AT_LEAST_S = 0.5  # long enough that commits pile up behind what is open or stalled

FALL_ASLEEP_S = 15.0  # a second without clients, one for its copies, and a machine that is busy

# A server with neighbours gets a small bound, and looks often: minutes of log come in seconds.
WAL_BYTES = 256 * 1024 * 1024  # sixteen segments of log, half of which may be there all the time
WAL_BYTES_KEPT = WAL_BYTES // 4  # what is left for clients to go on, when the bound makes it short

assert FENCE_POLL_S * 100 < FENCE_TIMEOUT_S, "a fence must look at the slot often"
assert ENGINE_STOP_S < SETTLE_TIMEOUT_S, "whoever is restarted last must still arrive"

# --- coordination of test agents ---

COORD_NAME_CHARS_MAX = 128  # of runs, agents, barriers ...: fits into a path and a log line
COORD_RUNS_MAX = 1_000  # at one server: a build farm of a day, with room
COORD_AGENTS_MAX = (
    10_000  # known to one run, the dead included: twice what one server is tested with
)
COORD_NAMES_MAX = 10_000  # barriers, signals, topics and keys of one run, each
COORD_PLACES_MAX = 1_000_000  # agents at barriers that a run remembers: 0.2 KB each
COORD_VALUE_BYTES_MAX = 1024 * 1024  # one key: larger things belong into files
COORD_KEYS_BYTES_MAX = 64 * 1024 * 1024  # all keys of one run: they live in memory
COORD_EVENT_BYTES_MAX = 64 * 1024  # one event of a topic
COORD_TOPIC_EVENTS_MAX = 1_000  # kept for replay; older ones are a gap, and told
COORD_TOPIC_BYTES_MAX = 1024 * 1024  # kept for replay: one answer carries all of it
COORD_FRAME_BYTES_MAX = 2 * 1024 * 1024  # from outside: one value, escaped, with room
COORD_DEPTH_MAX = 64  # of nested JSON: a value is passed on, and somebody has to read it
COORD_OUTBOX_BYTES_MAX = 8 * 1024 * 1024  # unsent to one agent; whoever is further behind is cut
COORD_REQUESTS_OPEN_MAX = 256  # waiting for an answer on one connection
COORD_TURN_MESSAGES = 16  # of one agent, until it is the others' turn: what agents say at once
COORD_SUBSCRIPTIONS_MAX = 1_000  # topics and keys that one connection follows
COORD_CONNECTIONS_MAX = 12_000  # sockets: below the usual limit of descriptors, see the how-to

COORD_LEASE_S = 15.0  # an agent may be away so long: a restart of a container, no more
COORD_LEASE_MAX_S = 3_600.0  # whoever plans to be away for longer leaves
COORD_WAIT_S = 600.0  # a wait without a timeout of its own: no test should hang a night
COORD_WAIT_MAX_S = 86_400.0
COORD_POLL_MAX_S = 60.0  # of one HTTP request that waits: proxies cut at about this
COORD_LEAD_MS = 500  # from a release to its start: the slowest agent must be told by then
COORD_LEAD_MAX_MS = 60_000
COORD_PING_S = 10.0  # between two pings; who is silent until the next is dead: the 20 s we state
COORD_PONG_S = 10.0  # the same for our own client: until a coordinator is taken for dead
COORD_CLOSE_S = 1.0  # for the other end to answer a close frame before the socket is cut
COORD_TOKEN_CHARS_MIN = 16  # of a secret: 64 bits, if it was made by chance
COORD_REQUEST_S = 10.0  # for the body of a request to arrive
COORD_RUNS_SHOWN_MAX = 10  # that were used last: a screen has no room for more
COORD_REDRAW_S = 1.0  # of a terminal where nothing has changed: what it shows gets older
COORD_NEWS_S = 0.2  # between two tellings of a run: eyes are no faster, and 5 000 agents take 10 ms
COORD_SWEEP_S = 0.1  # between two looks for connections that are silent for too long
COORD_DRAIN_S = 5.0  # for the last answers to leave when the server stops
COORD_PENDING_MAX = 20_000  # answers that wait for the disk; beyond it nobody is read

COORD_GENERATIONS_KEPT = 16  # outcomes of one barrier, for whoever comes late or asks again
COORD_ANSWERS_KEPT = 32  # of one agent, for repeats: far more than it can have in doubt
COORD_NAMES_SHOWN_MAX = 50  # in one story: five thousand names help nobody, five thousand times
COORD_STUCK_SHOWN_MAX = 10  # barriers in the story of a deadlock: all who wait there are told it
COORD_DOING_CHARS_MAX = 200  # what an agent says that it is doing: one line
COORD_CLOCK_SAMPLES = 8  # of which the one with the shortest way counts
COORD_BEAT_S = 20.0  # between two beats of our own client: clocks drift a few ms in that time
COORD_BEATS_FIRST = 3  # beats at once after a join: one of them has a short way
COORD_OPEN_S = 10.0  # for an agent to find its coordinator: both may just be starting
COORD_AGAIN_S = 1.0  # the longest pause between two attempts to connect: many in one lease
COORD_GOODBYE_S = 2.0  # for the answer to a goodbye; without it the lease says the same, later
COORD_WORKER_LEASE_S = 3.0  # of a worker of pytest: it is on this machine, and comes back at once
COORD_DOORBELL_S = 30.0  # for a worker to be told where to meet: the first one has it started
COORD_GARBAGE_OBJECTS = 10_000  # new, until garbage is looked for: those of a thousand who wait
COORD_RUN_KEEP_S = 12 * 3600.0  # a run that nobody used for so long is forgotten
COORD_RUN_NOTE_S = 60.0  # the last use is stored this exactly, not at every request

assert COORD_TOPIC_BYTES_MAX * 2 < COORD_OUTBOX_BYTES_MAX, "a replay must fit into an outbox"
assert COORD_EVENT_BYTES_MAX < COORD_TOPIC_BYTES_MAX, "a topic keeps at least its newest event"
assert COORD_VALUE_BYTES_MAX < COORD_FRAME_BYTES_MAX, "a value must fit into a frame"
assert COORD_AGAIN_S * 5 < COORD_LEASE_S, "an agent must have several attempts to come back"
