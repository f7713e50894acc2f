"""Light clients that have a shape for each of their tenants: `tenants PORT CLIENTS`.

They are `listeners`, but that "join TABLE SHAPES" gives client `i` the shapes `tenant = N` with
`i * SHAPES <= N < (i + 1) * SHAPES`.
"""

from __future__ import annotations

import gc
import sys

from benchmarks.processes.listeners import Listeners


def tenants_of(i: int, table: str, shapes: int) -> list[dict[str, object]]:
    return [
        {"id": str(n), "table": table, "where": f"tenant = {n}", "initial": False}
        for n in range(i * shapes, (i + 1) * shapes)
    ]


if __name__ == "__main__":
    gc.disable()
    Listeners(int(sys.argv[1]), int(sys.argv[2]), tenants_of).run()
