"""Goal: a run on disk can be judged again. Method: write one, read it, by id, path and `latest`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidelab.core.history.event import Connected
from tidelab.core.history.history import Journal
from tidelab.errors import HistoryError
from tidelab.store.run import HISTORY, RunFolder, find_run, read_history


def write(base: Path, run_id: str, count: int = 1) -> Journal:
    with RunFolder(base, run_id) as folder:
        journal = Journal([folder.write])
        for _ in range(count):
            journal.record("c", Connected(), at_s=1.5)
    return journal


def test_what_was_written_is_read(tmp_path: Path) -> None:
    journal = write(tmp_path, "one", 3)
    for name in ("one", "latest", str(tmp_path / "one")):
        assert read_history(find_run(tmp_path, name)) == journal.history


def test_latest_leads_to_the_newest(tmp_path: Path) -> None:
    write(tmp_path, "one")
    write(tmp_path, "two", 2)
    assert (tmp_path / "latest").resolve().name == "two"


def test_records_are_on_disk_before_the_run_ends(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "one")
    Journal([folder.write]).record("c", Connected())
    assert (tmp_path / "one" / HISTORY).read_bytes().count(b"\n") == 1
    folder.close()


def test_bad_names_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with pytest.raises(HistoryError, match="there already"):
        RunFolder(tmp_path, "one")
    with pytest.raises(HistoryError, match="no run id"):
        RunFolder(tmp_path, "../one")
    with pytest.raises(HistoryError, match=r"no run 'two'; .* has latest, one"):
        find_run(tmp_path, "two")
