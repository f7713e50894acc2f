"""Chromium by Playwright, and the coordinator as its users start it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

DEADLINE_S = 30.0
EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "agents"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]


@contextlib.contextmanager
def browsing() -> Iterator[Page]:
    """Open a browser with one page."""
    executable = shutil.which("chromium")
    assert executable, "Chromium is needed: make e2e installs it when root"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser.new_page(color_scheme="dark", viewport={"width": 1000, "height": 560})
        browser.close()


@contextlib.contextmanager
def serving(
    folder: Path, *arguments: str, port: int = 0, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start the coordinator; give the URL of /v2, and the process."""
    command = [sys.executable, "-m", "tidelab", "agents", "serve", "--json", "--no-testsync"]
    process = subprocess.Popen(
        [*command, "--http-port", str(port), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["v2_url"], process
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what a page loads is no news."""


@contextlib.contextmanager
def files() -> Iterator[str]:
    """Serve the examples; give the origin of their pages."""
    handler = functools.partial(Quiet, directory=str(EXAMPLES))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
