"""The command line in processes of its own, as a person runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import IO

TIMEOUT_S = 60


def tidewire(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tidewire", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, **environ},
        check=False,
    )


class Background:
    """A command that runs until it is stopped."""

    def __init__(self, *command: str, said: str, stream: str = "stdout", **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
            stdout=subprocess.PIPE if stream == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if stream == "stderr" else subprocess.DEVNULL,
        )
        out = self.process.stdout if stream == "stdout" else self.process.stderr
        assert out is not None
        self.out: IO[str] = out
        self.lines: list[str] = []
        self.line = self.wait_for(said)

    def wait_for(self, pattern: str) -> str:
        for line in self.out:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"ended without {pattern!r}: {self.lines}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        rest = self.process.communicate(timeout=TIMEOUT_S)
        self.lines += "".join(filter(None, rest)).splitlines(keepends=True)
        return self.process.returncode
