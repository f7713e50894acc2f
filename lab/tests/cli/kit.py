"""`tidelab agents serve` as a process, and as the app that refuses to become one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from tidelab.cli.app import app

ANY_PORTS = ("--http-port", "0", "--ws-port", "0")
DEADLINE_S = 30.0
POSTED = b"\x00 kept \xff"


def run(*arguments: str | Path) -> Result:
    """Run the command in this process: it is to refuse."""
    return CliRunner().invoke(app, ["agents", "serve", *map(str, arguments)])


def configure(folder: Path, **settings: Any) -> Path:
    defaults = {"http_port": 0, "ws_port": 0, "logging": {"dir": str(folder)}}
    (folder / "configuration.json").write_text(json.dumps({**defaults, **settings}))
    return folder


def sqlite(folder: Path) -> dict[str, str]:
    return {"type": "sqlite", "sqlite_path": str(folder / "t.db")}


@contextlib.contextmanager
def serving(
    folder: Path, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start the command; give the process and its first line. It is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tidelab", "agents", "serve", "--json", *arguments]
        + ["-c", str(folder)] * (folder / "configuration.json").exists(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=DEADLINE_S)[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def call(url: str, data: bytes | None = None) -> bytes:
    header = {"Authorization": "Basic Og=="}
    request = urllib.request.Request(url, data, header, method="GET" if data is None else "POST")
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return bytes(answer.read())


def ask(url: str, method: str = "GET", token: str = "", data: bytes | None = None) -> Any:
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}"}, method=method)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return json.loads(answer.read())
