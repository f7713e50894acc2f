"""The spool keeps what it took, says when it can take no more, and leaves nothing behind.

Method: real files. A full disk is made in a child process by RLIMIT_FSIZE: the kernel refuses to
let any file of that process grow beyond the limit (EFBIG), at the same system call and with a
partial write before it, just as a full disk does (ENOSPC), and it needs no mount and no root.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidewire.errors import SpoolError
from tidewire.spool.file import FileSpool, UnlinkedFile

ENGINE = Path(__file__).parents[2]
FULL_DISK = """
import resource, sys
from pathlib import Path
from tidewire.errors import SpoolError
from tidewire.spool.file import FileSpool

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
file = FileSpool(Path(sys.argv[1])).create()
assert file.append(b"a" * 6_000) == 0
try:
    file.append(b"b" * 6_000)
except SpoolError as error:
    print(error)
assert file.read(0, 20_000) == b"a" * 6_000, "earlier bytes stay, later ones are not seen"
assert file.append(b"c" * 4_000) == 6_000, "what fits is taken"
assert file.read(5_999, 2) == b"ac"
assert file.read(0, 20_000) == b"a" * 6_000 + b"c" * 4_000
try:
    file.append(b"d")
except SpoolError as error:
    print(error)
assert len(file.read(0, 20_000)) == 10_000
"""
HOLD = """
import sys
from pathlib import Path
from tidewire.spool.file import FileSpool

file = FileSpool(Path(sys.argv[1])).create()
file.append(b"x" * 1_000_000)
print("ready", flush=True)
sys.stdin.read()
"""


def command(script: str, folder: Path) -> list[str]:
    return [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ENGINE)!r})\n{script}",
        str(folder),
    ]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_bytes_are_read_where_they_were_put(tmp_path: Path) -> None:
    file = FileSpool(tmp_path).create()
    assert file.append(b"first") == 0
    assert file.append(b"") == 5
    assert file.append(b"second") == 5
    assert file.read(0, 5) == b"first"
    assert file.read(5, 6) == b"second"
    assert file.read(3, 4) == b"stse"


def test_a_read_beyond_the_end_is_short(tmp_path: Path) -> None:
    file = FileSpool(tmp_path).create()
    assert file.read(0, 10) == b""
    file.append(b"abc")
    assert file.read(1, 10) == b"bc"
    assert file.read(3, 10) == b""
    assert file.read(99, 10) == b""


def test_files_do_not_see_one_another(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path)
    one, other = spool.create(), spool.create()
    one.append(b"one")
    other.append(b"other")
    assert (one.read(0, 9), other.read(0, 9)) == (b"one", b"other")


def test_many_megabytes_come_back_as_they_were(tmp_path: Path) -> None:
    file = FileSpool(tmp_path).create()
    blocks = [bytes((number,)) * 1_000_000 for number in range(8)]
    starts = [file.append(block) for block in blocks]
    assert [file.read(start, 1_000_000) for start in starts] == blocks
    assert file.read(999_999, 2) == b"\0\1"


def test_the_disk_is_full(tmp_path: Path) -> None:
    child = subprocess.run(
        command(FULL_DISK, tmp_path), capture_output=True, text=True, timeout=20, check=False
    )
    assert child.stderr == ""
    assert child.returncode == 0
    assert child.stdout.splitlines() == [
        "the spool cannot take 6000 bytes: [Errno 27] File too large",
        "the spool cannot take 1 bytes: [Errno 27] File too large",
    ]


def test_a_file_has_no_name_and_gives_its_descriptor_back(tmp_path: Path) -> None:
    before = open_files()
    spool = FileSpool(tmp_path)
    files = [spool.create() for _ in range(20)]
    assert open_files() == before + 20
    assert list(tmp_path.iterdir()) == []
    del files
    assert open_files() == before


def test_many_small_files_take_no_descriptors_until_they_grow(tmp_path: Path) -> None:
    before = open_files()
    spool = FileSpool(tmp_path, memory_bytes=10)
    files = [spool.create() for _ in range(20)]
    for file in files:
        assert [file.append(data) for data in (b"small", b"stays")] == [0, 5]
    assert open_files() == before
    assert files[0].append(b"!") == 10
    assert open_files() == before + 1
    assert files[0].append(b"?") == 11
    assert files[0].read(0, 20) == b"smallstays!?"
    assert files[1].read(3, 20) == b"llstays"
    assert files[1].read(11, 20) == b""


def test_the_disk_is_full_when_a_small_file_grows(tmp_path: Path) -> None:
    file = FileSpool(tmp_path / "gone", memory_bytes=10).create()
    file.append(b"small")
    with pytest.raises(SpoolError, match="cannot open a file"):
        file.append(b"too many")
    assert file.read(0, 20) == b"small"
    assert file.append(b"again") == 5


def test_the_process_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(HOLD, tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGKILL)
        child.wait(20)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_gone(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "gone")
    with pytest.raises(SpoolError, match=r"cannot open a file: .*No such file"):
        spool.create()


def test_the_folder_goes_while_a_file_is_open(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = FileSpool(folder).create()
    folder.rmdir()
    file.append(b"still here")
    assert file.read(0, 10) == b"still here"


def test_somebody_cuts_the_file(tmp_path: Path) -> None:
    file = FileSpool(tmp_path).create()
    assert isinstance(file, UnlinkedFile)
    file.append(b"0123456789")
    os.truncate(f"/proc/self/fd/{file._descriptor}", 4)
    assert file.read(0, 4) == b"0123"
    with pytest.raises(SpoolError, match="lost bytes"):
        file.read(0, 10)
