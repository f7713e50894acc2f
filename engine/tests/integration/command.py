"""The command line in processes of its own, as a person runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from typing import IO

TIMEOUT_S = 60
STDERR = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "both": subprocess.STDOUT}


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
    """A command that runs until it is stopped, and what it says on one stream, or on "both"."""

    def __init__(
        self,
        *command: str,
        said: str = "",
        stream: str = "stdout",
        folder: str = ".",
        **environ: str,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
            stdout=subprocess.DEVNULL if stream == "stderr" else subprocess.PIPE,
            stderr=STDERR[stream],
        )
        out = self.process.stderr if stream == "stderr" else self.process.stdout
        assert out is not None
        self.out: IO[str] = out
        self.lines: list[str] = []
        self.line = self.wait_for(said).string if said else ""

    @property
    def said(self) -> str:
        """All that was read of what it said."""
        return "".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read up to a line; pytest's own deadline is the last resort."""
        for line in self.out:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"ended without {pattern!r}:\n{self.said}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it, and read the rest of what it says."""
        self.process.send_signal(number)
        overdue = threading.Timer(TIMEOUT_S, self.process.kill)
        overdue.start()
        if not self.out.closed:
            with self.out:
                # Not communicate(): that reads past the reader, and loses what it holds already.
                self.lines += self.out.readlines()
        overdue.cancel()
        return self.process.wait(TIMEOUT_S)
