"""Servers for tests: one per worker that tests share, and one of its own for tests that kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.tests.integration.altering import POLL_S
from engine.tests.integration.live import Live, database
from tidewire import limits
from tidewire.embedded import EmbeddedPostgres

# What a test does not check may be fast: nothing that these servers hold has to survive.
FAST = {
    "fsync": "off",
    "max_replication_slots": "40",
    "max_wal_senders": "40",
    # As the doctor wants it; given here, no test can change it for the others.
    "max_slot_wal_keep_size": "10GB",
}


def distribution_binaries() -> list[Path]:
    """Find servers that the distribution has installed."""
    return sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def versions() -> list[str]:
    """Name the servers to test with: the wheel's, and the distribution's where there is one."""
    return ["wheel", *(path.parent.parent.name for path in distribution_binaries())]


def binaries_of(version: str) -> Path | None:
    """Return the directory of a server's programs; None lets the wheel's be found."""
    return None if version == "wheel" else Path(f"/usr/lib/postgresql/{version}/bin")


@pytest.fixture(scope="session", params=versions())
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """Start one server per version and worker."""
    os.umask(0o022)
    with EmbeddedPostgres(binaries=binaries_of(request.param), settings=FAST) as running:
        yield running


@pytest.fixture
def live(server: EmbeddedPostgres) -> Iterator[Live]:
    """Make a fresh database on the shared server."""
    with database(server) as fresh:
        yield fresh


@pytest.fixture(params=versions())
def own_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """Start a server that the test may stop and kill."""
    with EmbeddedPostgres(binaries=binaries_of(request.param)) as running:
        yield running


@pytest.fixture
def quick_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for altered tables twenty times a second."""
    monkeypatch.setattr(limits, "SCHEMA_POLL_S", POLL_S)
