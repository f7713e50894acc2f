"""All findings of one look at a database, in the order in which to deal with them."""

from __future__ import annotations

from collections.abc import Iterator

from tidewire.core.diagnosis.facts import Facts
from tidewire.core.diagnosis.finding import Finding
from tidewire.core.diagnosis.publication import judge_publication
from tidewire.core.diagnosis.route import judge_route
from tidewire.core.diagnosis.server import judge_server
from tidewire.core.diagnosis.settings import judge_settings
from tidewire.core.diagnosis.slots import judge_slots, judge_transactions
from tidewire.core.diagnosis.table import judge_tables


def diagnose(facts: Facts) -> Iterator[Finding]:
    """Judge everything."""
    yield from judge_server(facts.server, facts.settings)
    yield from judge_route(facts)
    yield from judge_settings(facts)
    yield from judge_publication(facts)
    yield from judge_slots(facts)
    yield from judge_transactions(facts)
    yield from judge_tables(facts)
