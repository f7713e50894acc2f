"""The demo's page in a real browser: a row changed by SQL shows up, and again after a restart.

Method: `tidewire demo` as its own process, Chromium by Playwright, the change by psycopg.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Page, expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def page() -> Iterator[Page]:
    executable = shutil.which("chromium")
    assert executable, "Chromium is needed: make e2e installs it when root"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser.new_page()
        browser.close()


class Demo:
    """`tidewire demo` as a person starts it."""

    def __init__(self, port: int, data: Path) -> None:
        command = [sys.executable, "-m", "tidewire", "demo"]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--data", str(data)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        self.url = re.search(r"page +(\S+)", said)[1]  # type: ignore[index]
        self.database = re.search(r"(postgresql://\S+)", said)[1]  # type: ignore[index]

    def execute(self, statement: bytes) -> None:
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(statement)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)
        return self.process.returncode


def test_a_row_changed_by_sql_shows_on_the_page_and_the_page_survives_a_restart(
    page: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("demo")
    for folder in [data, *data.parents][:3]:
        folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    demo = Demo(0, data)
    try:
        page.goto(demo.url)
        expect(page.locator("#state")).to_have_text("live")
        demo.execute(b"UPDATE orders SET status = 'lost at sea' WHERE id = 7")
        expect(page.locator("tr", has_text="lost at sea")).to_be_visible()
        port = int(demo.url.rstrip("/").rpartition(":")[2])
    finally:
        code = demo.stop()
    assert code == 130, "Ctrl-C is not an error, and not silent either"
    expect(page.locator("#state")).to_have_text("reconnecting")
    demo = Demo(port, data)
    try:
        expect(page.locator("#state")).to_have_text("live")
        demo.execute(b"UPDATE orders SET customer = '<b>Pier</b>' WHERE id = 3")
        expect(page.locator("td", has_text="<b>Pier</b>")).to_be_visible()
        page.screenshot(path=str(data / "page.png"))
    finally:
        demo.stop()
