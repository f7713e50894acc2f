"""The name of a run, which also names what the run makes in a database and on disk."""

from __future__ import annotations

import re

from tidelab.errors import HistoryError

_RUN_ID = re.compile(r"[a-z0-9_]{1,40}")


def check_run_id(run_id: str) -> str:
    """Return a run id that can be part of the name of a slot.

    Raises HistoryError.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise HistoryError(f"{run_id!r} is no run id: up to 40 of a-z, 0-9 and _ are")
    return run_id
