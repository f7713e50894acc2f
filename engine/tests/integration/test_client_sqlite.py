"""Goal: a file is ours and whole, or it is refused with one line that says what to do.

Method: files of all kinds on a real disk, and other processes that hold them.
"""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from tidewire import SqliteStore, StoreError
from tidewire.client.sqlite import APPLICATION_ID, VERSION
from tidewire.core.model.lsn import Lsn
from tidewire.core.protocol.frames import ShapeRequest
from tidewire.core.saved import Batch, Change, Entry, Saved
from tidewire.core.store import Layer, Row
from tidewire.core.stream.cursor import Cursor

CURSOR = Cursor("e1", Lsn(2**40 + 9), "tag")
COLUMNS = (("id", "int4"), ("body", "text"))
ENTRY = Entry(ShapeRequest(id="1", table="t"), "public.t", COLUMNS, ("id",))
HOLD = """
import sys
from tidewire import SqliteStore
store = SqliteStore(sys.argv[1])
store.open()
print("open", flush=True)
sys.stdin.read()
"""


HOLDER: list[str | Path] = [sys.executable, "-c", HOLD]


def row(id: int, body: str = "x") -> Row:
    return {"id": id, "body": body}


def anew(*rows: Row) -> Batch:
    layer = Layer({})
    layer.replace({each["id"]: each for each in rows})
    return Batch(CURSOR, [Change("1", layer, ENTRY)])


def filled(path: Path, *rows: Row) -> None:
    store = SqliteStore(path)
    assert store.open() is None
    store.write(anew(*rows))
    store.close()


def read(path: Path) -> Saved | None:
    store = SqliteStore(path)
    try:
        return store.open()
    finally:
        store.close()


def rows_of(path: Path) -> list[Row]:
    saved = read(path)
    assert saved is not None
    ((entry, table),) = saved.tables
    assert (saved.cursor, entry, table.is_live) == (CURSOR, ENTRY, True)
    return list(table.rows.values())


def altered(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.db"


# --- what is kept ---


def test_what_was_written_is_read(path: Path) -> None:
    filled(path, row(2), row(1, "\u00e9"))
    assert rows_of(path) == [row(2), row(1, "\u00e9")]


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    filled(path, row(1))
    assert rows_of(path) == [row(1)]


def test_only_this_user_may_read_the_file_and_its_log(path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        store.open()
        store.write(anew(row(1)))
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == {"rows.db": 0o600, "rows.db-wal": 0o600}


def test_a_batch_that_fails_half_way_leaves_the_state_before(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    store.write(anew(row(1)))
    layer = Layer({})
    layer.put(1, row(1, "changed"))
    layer.put(2, {"id": 2})  # a bug of ours: a column is missing
    with pytest.raises(KeyError):
        store.write(Batch(Cursor("e1", Lsn(10), "later"), [Change("1", layer)]))
    store.close()
    assert rows_of(path) == [row(1)]


def test_a_store_can_be_used_again_but_not_twice_at_once(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    with pytest.raises(StoreError, match="in use by another client of this program"):
        store.open()
    store.write(anew(row(1)))
    store.close()
    store.close()
    assert store.open() is not None
    store.close()
    assert repr(store) == f"SqliteStore({str(path)!r})"


def test_a_path_is_a_path_whatever_sqlite_makes_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(Path(":memory:"), row(1))
    assert rows_of(tmp_path / ":memory:") == [row(1)]


# --- what is refused ---


def test_another_process_holds_the_file(path: Path) -> None:
    filled(path, row(1))
    with subprocess.Popen([*HOLDER, path], stdin=PIPE, stdout=PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreError) as caught:
            read(path)
        holder.kill()
    text = "in use by another process; each process needs a file of its own"
    assert str(caught.value) == f"{path}: {text}"
    assert rows_of(path) == [row(1)], "a lock does not outlive its process"


def test_a_second_store_of_this_process_does_not_let_another_process_in(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    with pytest.raises(StoreError, match="in use by another process"):
        read(path)
    done = subprocess.run([*HOLDER, path], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert "in use by another process" in done.stderr
    store.close()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"not a database, but long enough to be taken for one" * 20, "damaged, or no file of"),
        (b"short", "damaged, or no file of SQLite"),
    ],
)
def test_a_file_of_something_else_is_refused(path: Path, content: bytes, text: str) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=text):
        read(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statements",
    [["CREATE TABLE rows (n)"], ["PRAGMA user_version = 3"], ["PRAGMA application_id = 7"]],
)
def test_a_database_of_another_program_is_refused_and_left_alone(
    path: Path, statements: list[str]
) -> None:
    altered(path, *statements)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="of another program; choose another path"):
        read(path)
    assert path.read_bytes() == before


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    filled(path, row(1))
    altered(path, f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match=r"newer version .*2, this one reads 1.*upgrade"):
        read(path)
    altered(path, f"PRAGMA user_version = {VERSION}")
    assert rows_of(path) == [row(1)]


def test_a_file_of_an_older_version_is_built_anew(path: Path) -> None:
    altered(
        path,
        f"PRAGMA application_id = {APPLICATION_ID}",
        "CREATE TABLE rows (of_another_form)",
        "CREATE TABLE cursor (lsn)",
        "INSERT INTO cursor VALUES ('0/1')",
    )
    filled(path, row(1))
    assert rows_of(path) == [row(1)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rows SET content = 'x'",
        "UPDATE rows SET content = '[1]'",
        "UPDATE rows SET content = x'5B312C2278225D'",
        "UPDATE rows SET content = '[1,\"x\"]'",
        "UPDATE subscriptions SET entry = '{}'",
        'UPDATE subscriptions SET entry = replace(entry, \'"id":"1"\', \'"id":"x"\')',
        "UPDATE cursor SET lsn = 'soon'",
        "DROP TABLE rows",
    ],
)
def test_a_damaged_file_is_refused(path: Path, statement: str) -> None:
    filled(path, row(1), row(2))
    altered(path, statement)
    with pytest.raises(StoreError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(StoreError, match=r"damaged|cannot be opened"):
        read(path)


def test_a_torn_page_is_told(path: Path) -> None:
    filled(path, *(row(number, "x" * 100) for number in range(500)))
    content = bytearray(path.read_bytes())
    content[8192:12288] = random.Random(1).randbytes(4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        read(path)


def test_a_path_that_cannot_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened: No such file or directory"):
        read(tmp_path / "nowhere" / "rows.db")
    with pytest.raises(StoreError, match="cannot be opened: unable to open"):
        read(tmp_path)
