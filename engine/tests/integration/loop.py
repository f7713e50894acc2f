"""Run a test in an event loop: with a deadline, on each loop we support, leaving nothing behind.

Method: the coroutine runs on asyncio's own loop and on uvloop. Whatever the loop could only log (an
exception in a callback, a task that nobody awaited) and every task that is left over fail the test.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import pytest
import uvloop

P = ParamSpec("P")
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}
# Far beyond what any test needs, below the deadline of pytest itself.
DEADLINE_S = 30.0
WAIT_S = 10.0
POLL_S = 0.002


def on_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an ordinary test of a coroutine; it runs once on each loop."""

    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        factory = LOOPS[str(kwargs.pop("loop_name"))]
        with asyncio.Runner(debug=False, loop_factory=factory) as runner:
            runner.run(_guard(functools.partial(test, *args, **kwargs)))
        gc.collect()  # now, and not in another test, an unclosed socket warns

    functools.update_wrapper(run, test)
    del run.__dict__["__wrapped__"]  # pytest would take the test for a coroutine
    signature = inspect.signature(test)
    loop_name = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*signature.parameters.values(), loop_name]
    run.__dict__["__signature__"] = signature.replace(parameters=parameters)
    marked: Callable[..., None] = pytest.mark.parametrize("loop_name", sorted(LOOPS))(run)
    return marked


async def _guard(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(f"{context['message']}: {context.get('exception')!r}")
    )
    async with asyncio.timeout(DEADLINE_S):
        await test()
        await until(lambda: len(asyncio.all_tasks()) == 1, "all tasks have ended")
    assert complaints == []


async def until(
    predicate: Callable[[], object], event: str = "it happened", timeout_s: float = WAIT_S
) -> None:
    """Wait until something is true, or fail with the name of the event."""
    try:
        async with asyncio.timeout(timeout_s):
            while not predicate():
                await asyncio.sleep(POLL_S)  # why: the predicate belongs to nobody who could tell
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {event}") from None
