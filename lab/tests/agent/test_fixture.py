"""Goal: workers of one pytest session meet, in one place that ends with it.

Method: pytest with pytest-xdist as a user starts it, in a folder of its own.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tidelab import coordinator
from tidelab.agent import AgentEnded
from tidelab.coordinator import Options
from tidelab.fixtures import MeetingPlace, ring

DEADLINE_S = 100.0


# Of all the plugins that are installed here, those that matter: the others take seconds.
FEW = ("-p", "xdist.plugin", "-p", "tidelab_pytest")


def run(
    folder: Path, *arguments: str, tests: str, plugins: tuple[str, ...] = FEW
) -> tuple[int, str]:
    """Run tests; return the exit code and all that was printed."""
    (folder / "test_it.py").write_text(tests)
    autoload = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if plugins else {}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **autoload},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout


MEET = """\
import pathlib, pytest

@pytest.mark.parametrize("role", ["writer", "reader"])
def test_both(role, sync_agents):
    start = sync_agents.meet("both", target=2, timeout_s=60)
    told = f"{sync_agents.name} {start.arrived} {start.start_at:.1f} {sync_agents.run}"
    pathlib.Path(role).write_text(told)
    pathlib.Path("url").write_text(sync_agents.url)
"""


def test_two_tests_on_two_workers_meet(tmp_path: Path) -> None:
    code, out = run(tmp_path, "-n", "2", tests=MEET)
    assert code == 0, out
    writer, reader = ((tmp_path / role).read_text().split() for role in ("writer", "reader"))
    assert {writer[0], reader[0]} == {"gw0", "gw1"}
    assert writer[1:] == reader[1:], "they met, in one run"
    assert re.fullmatch(r"pytest-[0-9a-f]{32}", writer[3])
    port = int((tmp_path / "url").read_text().rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


EACH = """\
def test_each(sync_agents):
    for generation in (1, 2, 3):
        start = sync_agents.meet("each", timeout_s=60, lead_s=0.05)
        assert (start.generation, start.arrived) == (generation, 3)
    assert sync_agents.wait_signal("done", count=sync_agents.raise_signal("done")) <= 3
"""


def test_all_workers_meet_when_nobody_is_named(tmp_path: Path) -> None:
    code, out = run(tmp_path, "-n", "3", "--dist", "each", tests=EACH)
    assert code == 0, out
    assert "3 passed" in out


DIE = """\
import os
import tidelab.fixtures

tidelab.fixtures.COORD_WORKER_LEASE_S = 0.5

def test_first(sync_agents):
    sync_agents.barrier("begin", timeout_s=60)
    doing = {line.agent: line.doing for line in sync_agents.inspect().agents}
    assert doing[sync_agents.name].startswith("test_it.py::test_first (")

def test_second(sync_agents):
    if sync_agents.name == "gw1":
        os._exit(1)
    sync_agents.barrier("never", timeout_s=60)
"""


def test_a_worker_that_dies_breaks_the_barrier_and_is_named(tmp_path: Path) -> None:
    code, out = run(tmp_path, "-n", "2", "--dist", "each", "--max-worker-restart", "0", tests=DIE)
    assert code == 1, out
    assert "BarrierBroken: barrier never, generation 1: too few can ever come" in out
    assert re.search(r"gone: gw1 \(dead for \d\.\d s; test_it\.py::test_second \(", out), out


ALONE = """\
import sys

def test_nothing_was_imported():
    heavy = {"uvicorn", "websockets", "msgspec", "tidelab.coordinator", "tidelab.agent"}
    assert not heavy.intersection(sys.modules)

def test_alone(sync_agents):
    assert sync_agents.name == "main"
    assert sync_agents.meet("m", lead_s=0).arrived == 1
"""


@pytest.mark.parametrize("arguments", [("-p", "no:xdist"), ("-n", "1", "--tx", "popen")])
def test_one_worker_meets_itself_and_nothing_is_imported_before(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Without pytest-xdist all plugins are loaded, as pytest finds them: ours is among them."""
    is_alone = "no:xdist" in arguments
    tests = ALONE if is_alone else ALONE.replace('"main"', '"gw0"')
    code, out = run(tmp_path, *arguments, tests=tests, plugins=() if is_alone else FEW)
    assert code == 0, out
    assert "2 passed" in out


def test_whoever_rings_is_told_where_to_meet_until_the_session_ends() -> None:
    place = MeetingPlace()
    doorbell = place.doorbell()
    assert place.doorbell() == doorbell
    socket.create_connection(("127.0.0.1", doorbell)).close()  # does not wait for the answer
    assert ring(doorbell) == ring(doorbell) == place.url()
    place.close()
    with pytest.raises(AgentEnded, match="does not say where to meet"):
        ring(doorbell)


def test_a_coordinator_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(coordinator, "Options", lambda **_: Options(http_port=port))
        place = MeetingPlace()
        with pytest.raises(AgentEnded, match=f"no coordinator: .*cannot listen on .*{port}"):
            ring(place.doorbell())
        place.close()


def test_a_place_that_is_closed_while_it_starts_ends() -> None:
    with ThreadPoolExecutor() as pool:
        for _ in range(20):
            place = MeetingPlace()
            asked = pool.submit(place.url)
            while not any(thread.name == "coordinator" for thread in threading.enumerate()):
                pass
            place.close()
            assert isinstance(asked.exception(DEADLINE_S), AgentEnded | None)


def test_a_place_that_nobody_needed_ends() -> None:
    unused = MeetingPlace()
    doorbell = unused.doorbell()
    unused.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", doorbell))
