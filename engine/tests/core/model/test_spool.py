"""Everything that calls itself a spool keeps the same promises: the real one and the fake.

Method: one contract, run against files on the disk and against memory; a full disk is made with the
file size limit of the process.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.tests.core.spool import MemorySpool
from tidewire.core.model.spool import Spool
from tidewire.errors import SpoolError
from tidewire.spool.file import FileSpool

ROOM = 100


class Kind(NamedTuple):
    spool: Spool
    full_after: Callable[[int], AbstractContextManager[None]]
    broken: Spool


@contextmanager
def file_size_limit(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["file", "small file", "memory"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    if request.param == "small file":
        spool = FileSpool(tmp_path, memory_bytes=4)
        return Kind(spool, file_size_limit, FileSpool(tmp_path / "missing"))
    if request.param == "file":
        return Kind(FileSpool(tmp_path), file_size_limit, FileSpool(tmp_path / "missing"))
    return Kind(MemorySpool(ROOM), lambda count: nullcontext(), MemorySpool(0))


def test_append_returns_where_the_bytes_start(kind: Kind) -> None:
    file = kind.spool.create()
    assert [file.append(data) for data in (b"one", b"", b"three")] == [0, 3, 3]
    assert file.read(3, 5) == b"three"


def test_a_read_may_cross_what_was_appended_at_once(kind: Kind) -> None:
    file = kind.spool.create()
    file.append(b"abc")
    file.append(b"def")
    assert file.read(1, 4) == b"bcde"


@pytest.mark.parametrize(("offset", "found"), [(0, b"abc"), (2, b"c"), (3, b""), (9, b"")])
def test_a_read_is_short_only_at_the_end(kind: Kind, offset: int, found: bytes) -> None:
    file = kind.spool.create()
    file.append(b"abc")
    assert file.read(offset, 10) == found


def test_bytes_are_read_again_and_again(kind: Kind) -> None:
    file = kind.spool.create()
    file.append(b"abc")
    assert [file.read(0, 3) for _ in range(3)] == [b"abc"] * 3


def test_files_of_one_spool_do_not_share_bytes(kind: Kind) -> None:
    first, second = kind.spool.create(), kind.spool.create()
    first.append(b"first")
    second.append(b"second")
    assert first.read(0, 10) == b"first"


def test_a_full_disk_is_told_and_leaves_what_was_there(kind: Kind) -> None:
    file = kind.spool.create()
    file.append(b"a" * 60)
    with kind.full_after(ROOM), pytest.raises(SpoolError, match="cannot take 60 bytes"):
        file.append(b"b" * 60)
    assert file.read(0, ROOM) == b"a" * 60
    assert file.append(b"c") == 60
    assert file.read(55, 10) == b"aaaaac"


def test_a_spool_that_cannot_open_a_file_says_so(kind: Kind) -> None:
    with pytest.raises(SpoolError, match="cannot open a file"):
        kind.broken.create()
