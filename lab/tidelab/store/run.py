"""A run folder: `runs/<id>/history.jsonl`, and `runs/latest`, which leads to the newest.

The one rule: a record is on its way to the disk before anything else is done with it, line by line,
so that a run that is killed can be judged as far as it got.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tidelab.core.history.codec import decode_history, encode_record
from tidelab.core.history.history import History, Record
from tidelab.core.history.run import check_run_id
from tidelab.errors import HistoryError

HISTORY = "history.jsonl"
LATEST = "latest"


class RunFolder:
    """Write the history of one run; give `write` to the journal as a listener."""

    def __init__(self, base: Path, run_id: str) -> None:
        """Make the folder; raises HistoryError if the id is bad or taken."""
        self.path = base / check_run_id(run_id)
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            raise HistoryError(f"{self.path} is there already: choose another run id") from None
        self._file = (self.path / HISTORY).open("wb", buffering=0)
        _point(base / LATEST, run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, record: Record) -> None:
        """Append one record."""
        self._file.write(encode_record(record))

    def close(self) -> None:
        """Close the history."""
        self._file.close()


def find_run(base: Path, name: str) -> Path:
    """Return the folder of a run that is named by path or id, `latest` included.

    Raises HistoryError.
    """
    for folder in (Path(name), base / name):
        if (folder / HISTORY).is_file():
            return folder
    runs = sorted(path.parent.name for path in base.glob(f"*/{HISTORY}"))
    known = ", ".join(runs[-10:]) or "none"
    raise HistoryError(f"there is no run {name!r}; {base} has {known}")


def read_history(folder: Path) -> History:
    """Read the history of a run.

    Raises HistoryError.
    """
    return decode_history((folder / HISTORY).read_bytes())


def _point(link: Path, run_id: str) -> None:
    """Lead `latest` to a run, in one step, so that it is never missing."""
    fresh = link.with_name(f".{LATEST}.{run_id}")
    fresh.symlink_to(run_id)
    fresh.replace(link)
