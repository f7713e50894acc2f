"""Goal: the programs that the documentation shows do what it says.

Method: each runs as its reader would run it, beside a server in a process of its own.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.tests.integration.command import Background
from engine.tests.integration.live import Live
from engine.tests.integration.syncing import only_newest, script
from engine.tests.integration.test_cli import EXAMPLES
from engine.tests.integration.test_engine_failures import ServerProcess
from tidewire.cli.demo import _SCHEMA

pytestmark = [pytest.mark.postgres, only_newest]


@pytest.fixture
def url(live: Live) -> Iterator[str]:
    """Serve the database of the demo, with its twelve orders."""
    asyncio.run(script(live, *_SCHEMA.split(";")))
    server = ServerProcess(live.url)
    yield server.url
    assert server.end(signal.SIGTERM) == 0


def write(live: Live, statement: str) -> None:
    asyncio.run(script(live, statement))


def test_rows_are_kept_in_a_file(live: Live, url: str, tmp_path: Path) -> None:
    file = str(tmp_path / "orders.db")
    command = str(EXAMPLES / "client" / "keep.py")
    first = Background(command, said="now there are 12 rows", TIDEWIRE_URL=url, ORDERS_FILE=file)
    assert first.lines[0] == "the file is as of None\n"
    write(live, "DELETE FROM orders WHERE id = 1")
    first.wait_for(r"changed 1 rows")
    first.stop()
    write(live, "DELETE FROM orders WHERE id = 2")
    second = Background(command, said="now there are 10 rows", TIDEWIRE_URL=url, ORDERS_FILE=file)
    assert re.fullmatch(r"the file is as of \w+/\w+\n", second.lines[0])
    second.wait_for(r"changed 1 rows")
    second.stop()


def test_code_that_blocks(live: Live, url: str) -> None:
    block = Background(
        str(EXAMPLES / "client" / "block.py"),
        said=r"\('update', \(1,\)\)",
        TIDEWIRE_URL=url,
        DATABASE_URL=live.url,
    )
    assert block.lines[:2] == ["there are 12 orders\n", "order 1 is packed\n"]
    assert block.process.wait(10) == 0
    block.out.close()


def test_rows_have_a_type_of_their_own(url: str) -> None:
    said = "12 orders in all, as of "
    typed = Background(str(EXAMPLES / "client" / "typed.py"), said=said, TIDEWIRE_URL=url)
    assert typed.lines[0] == "1 Tidal Books 5.75 new\n"
    assert typed.process.wait(10) == 0
    typed.out.close()
