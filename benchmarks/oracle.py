"""How many messages a second does one core check against the oracle, whole state at every position?

Each message is a commit that a client is told; after it the client's rows, kept as a digest, are
compared with the oracle's state at that position, as every run of the lab does. There are several
clients, each with two live subscriptions of a table of a thousand rows.

The baseline takes in the same messages and keeps the same rows, without a digest and without
comparing; so the ratio is what remains of the speed of clients that nobody checks. The goal is
20 000 messages a second and core.

`oracle_cpu` is the same at a fixed rate of 10 000 messages a second: the CPU that a message costs,
in microseconds, against one that nobody checks.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import conclude, options, rate, take_turns
from tidelab.core.check.replica import Replica
from tidelab.core.check.span import Span
from tidelab.core.check.trace import Trace
from tidelab.core.history.event import Claimed, Copied, Part, Patch, Received, Subscribed
from tidelab.core.history.history import Journal, Record
from tidelab.core.history.position import Lsn
from tidelab.core.history.shape import Between, Everything, Shape
from tidelab.core.history.truth import (
    Baseline,
    Column,
    Committed,
    Key,
    Row,
    Table,
    TableRows,
    Updated,
)
from tidelab.core.oracle.oracle import Oracle

COLUMNS = ("id", "customer", "quantity", "note")
TABLE = Table("orders", ("id",), tuple(Column(n, "int8" if n == "id" else "text") for n in COLUMNS))
SHAPES = (
    Shape("orders", COLUMNS, Everything()),
    Shape("orders", COLUMNS, Between("id", "0", "499")),
)
ROWS, CLIENTS, COMMITS_PER_SECOND = 1000, 10, 4000
FIXED_PER_SECOND, COMMITS_AT_ONCE = 1000, 10
BEGIN = 1000


def main() -> None:
    parser = options(__doc__, seconds=2.0, repeat=5)
    arguments = parser.parse_args()
    baseline, commits = load(int(arguments.seconds * COMMITS_PER_SECOND))
    records = messages(baseline, commits)
    checked, unchecked = take_turns(
        arguments.repeat,
        "oracle",
        lambda: once(Trace, baseline, commits, records),
        lambda: once(Unchecked, baseline, commits, records),
    )
    some = int(arguments.seconds * FIXED_PER_SECOND)
    joining = len(records) - len(commits)
    paced, paced_unchecked = take_turns(
        arguments.repeat,
        "oracle_cpu",
        lambda: (
            1e6 * cpu(Trace, baseline, commits[:some], records[: joining + some], is_paced=True)
        ),
        lambda: (
            1e6 * cpu(Unchecked, baseline, commits[:some], records[: joining + some], is_paced=True)
        ),
    )
    conclude(
        [
            rate("oracle", "messages/s", checked, unchecked, "value >= 20 000"),
            rate("oracle_cpu", "us/message", paced, paced_unchecked, "printed"),
        ]
    )


class Plain(Replica):
    """Keep rows, but no digest of them."""

    def _take(self, key: Key) -> Row | None:
        return self.rows.pop(key, None)

    def _put(self, row: Row) -> Key | None:
        self.rows[self._key_of(row)] = row
        return None


class Unchecked(Trace):
    """Keep the rows of a client, and compare nothing."""

    def _begin(self, record: Record, id: str, shape: Shape, *, has_rows: bool) -> None:
        span = Span(self.client, id, self._oracle.view(shape), record, has_rows=False)
        span.replica = Plain(span.view)
        self._current[id] = span
        self.spans.append(span)


def load(count: int) -> tuple[Baseline, list[Committed]]:
    """Make a table, and commits that each change two of its rows."""
    random = Random(1)
    rows = [
        (str(n), f"customer {n % 97}", str(n % 50), "a note of some length") for n in range(ROWS)
    ]
    baseline = Baseline(Lsn(BEGIN), (TableRows(TABLE, tuple(rows)),))
    commits = []
    for number in range(count):
        ids = random.sample(range(ROWS), 2)
        changed: list[Row] = [(str(n), rows[n][1], str(number), rows[n][3]) for n in ids]
        changes = tuple(Updated("orders", (str(row[0]),), row) for row in changed)
        commits.append(Committed(Lsn(BEGIN + 100 * (number + 1)), number, changes))
    return baseline, commits


def messages(baseline: Baseline, commits: list[Committed]) -> list[Record]:
    """Write what a client is told: a copy of each shape, and then every commit."""
    journal = Journal()
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in baseline.tables[0].rows]
    for index, shape in enumerate(SHAPES):
        shown = tuple(row for row in rows if index == 0 or int(row["id"] or 0) < 500)
        journal.record("c", Subscribed(str(index), shape, "copy"))
        journal.record("c", Copied(str(index), shown, begins=True))
    journal.record("c", Claimed(Lsn(BEGIN), ("0", "1")))
    for commit in commits:
        updates = [change for change in commit.changes if isinstance(change, Updated)]
        patches = [Patch(each.old_key, {"quantity": each.row[2]}) for each in updates]
        low = tuple(patch for patch in patches if int(patch.key[0] or 0) < 500)
        parts = [Part("0", tuple(patches)), *[Part("1", low)] * bool(low)]
        journal.record("c", Received(commit.lsn, tuple(parts)))
    return journal.records


def once(
    kind: type[Trace], baseline: Baseline, commits: list[Committed], told: list[Record]
) -> float:
    """Return how many messages a second all clients take in, the oracle's work included."""
    return 1 / cpu(kind, baseline, commits, told)


def cpu(
    kind: type[Trace],
    baseline: Baseline,
    commits: list[Committed],
    told: list[Record],
    *,
    is_paced: bool = False,
) -> float:
    """Return the seconds of CPU that a message costs, at full speed or at the fixed rate."""
    oracle = Oracle(baseline)
    traces = [kind(f"c{number}", oracle) for number in range(CLIENTS)]
    joining = len(told) - len(commits)
    for trace in traces:
        for record in told[:joining]:
            trace.receive(record)
    begun, begun_at = time.process_time(), time.monotonic()
    for number, (commit, record) in enumerate(zip(commits, told[joining:], strict=True)):
        if is_paced and number % COMMITS_AT_ONCE == 0:
            time.sleep(max(0.0, begun_at + number / FIXED_PER_SECOND - time.monotonic()))
        oracle.receive(commit)
        for trace in traces:
            trace.receive(record)
    taken = time.process_time() - begun
    assert not any(span.mismatches for trace in traces for span in trace.spans)
    return taken / (len(commits) * CLIENTS)


if __name__ == "__main__":
    main()
