"""The plugin for pytest: the fixture `sync_agents`, with which the workers of a session meet.

The one rule: it is loaded into every run of pytest where tidelab is installed, so it imports
nothing until a test asks for the fixture, or pytest-xdist starts workers.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tidelab.agent import BlockingAgent
    from tidelab.fixtures import MeetingPlace

_PLACE = pytest.StashKey["MeetingPlace"]()
_AGENT = pytest.StashKey["BlockingAgent"]()
_TEST = pytest.StashKey[str]()
_DOORBELL = "tidelab_doorbell"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker of pytest-xdist where to ask for the coordinator."""
    node.workerinput[_DOORBELL] = _place_of(node.config).doorbell()


@pytest.hookimpl
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say which test runs, for workers that wait for this one in vain."""
    item.config.stash[_TEST] = item.nodeid
    agent = item.config.stash.get(_AGENT, None)
    if agent is not None:
        from tidelab.errors import AgentError

        with contextlib.suppress(AgentError):  # tests that need it will be told
            agent.doing(item.nodeid)


@pytest.hookimpl
def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started."""
    place = config.stash.get(_PLACE, None)
    if place is not None:
        place.close()


@pytest.fixture(scope="session")
def sync_agents(request: pytest.FixtureRequest) -> Iterator[BlockingAgent]:
    """Give the agent of this worker: it meets those of all other workers of the session.

    A `tidelab.agent.BlockingAgent`, named as the worker (`gw0`, or `main` without pytest-xdist).
    `sync_agents.meet("seeded")` is for all workers of the session; `target=2` for any two.
    """
    from tidelab.fixtures import ring, worker_agent

    config = request.config
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is None:
        url, run, name, workers = _place_of(config).url(), uuid.uuid4().hex, "main", ["main"]
    else:
        url, run, name = ring(given[_DOORBELL]), given["testrunuid"], given["workerid"]
        workers = [f"gw{number}" for number in range(given["workercount"])]
    with worker_agent(url, f"pytest-{run}", name, workers) as agent:
        config.stash[_AGENT] = agent
        agent.doing(config.stash[_TEST])
        yield agent
        del config.stash[_AGENT]


def _place_of(config: pytest.Config) -> MeetingPlace:
    if _PLACE not in config.stash:
        from tidelab.fixtures import MeetingPlace

        config.stash[_PLACE] = MeetingPlace()
    return config.stash[_PLACE]
