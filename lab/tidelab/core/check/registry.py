"""All checkers, in the order in which they are told about."""

from __future__ import annotations

from tidelab.core.check import (
    arrival,
    assertion,
    atomicity,
    convergence,
    duplicate,
    gap,
    ghost,
    leak,
    loss,
    order,
    origin,
    position,
    up_to_date,
)
from tidelab.core.check.checker import Checker
from tidelab.core.history.event import Asserted, Declared
from tidelab.core.history.history import History

PROPERTIES: tuple[Checker, ...] = tuple(
    module.CHECKER
    for module in (
        convergence,
        loss,
        duplicate,
        order,
        position,
        atomicity,
        gap,
        leak,
        ghost,
        origin,
        up_to_date,
        arrival,
    )
)


def checkers_for(history: History) -> tuple[Checker, ...]:
    """Return the checkers for a history: all properties, and the assertions if it has any."""
    has_assertions = any(history.events(Declared, Asserted))
    return (*PROPERTIES, *(assertion.CHECKER,) * has_assertions)
