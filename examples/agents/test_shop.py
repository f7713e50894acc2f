"""Two tests that need each other: run them with pytest -n 2."""

import pytest

from tidelab.agent import BlockingAgent


@pytest.mark.parametrize("buyer", ["ann", "bob"])
def test_only_one_gets_the_last_rope(buyer: str, sync_agents: BlockingAgent) -> None:
    sync_agents.meet("opening", target=2, timeout_s=30)
    place = sync_agents.raise_signal("bought")
    sync_agents.publish("sales", [buyer, place])
    sync_agents.wait_signal("bought", count=2, timeout_s=30)
    sales = sync_agents.follow("sales")
    assert sorted(place for _, place in (next(sales).data, next(sales).data)) == [1, 2]
