"""What the kernel tells of a process, where there is a /proc."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1 << 20


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_peak(pid: int) -> int | None:
    """Let the kernel measure the peak from here on; return what is resident now, in KiB."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return None  # another system, or not our process
    return memory_kib(pid, "VmRSS")


def memory_kib(pid: int, name: str) -> int:
    """Return one of the sizes that the kernel keeps of a process."""
    return _sizes_kib(f"/proc/{pid}/status")[name]


def own_kib(pid: int) -> int | None:
    """Return the memory that nobody shares with a process (USS)."""
    try:
        sizes = _sizes_kib(f"/proc/{pid}/smaps_rollup")
    except OSError:
        return None
    return sizes["Private_Clean"] + sizes["Private_Dirty"]


def _sizes_kib(path: str) -> dict[str, int]:
    lines = [line.split() for line in Path(path).read_text().splitlines()]
    return {words[0][:-1]: int(words[1]) for words in lines if words[-1] == "kB"}
