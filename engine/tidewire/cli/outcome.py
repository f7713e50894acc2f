"""How a command ends: one clear line and an exit code, never a traceback for what is not a bug."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from tidewire.errors import ConfigError, DatabaseError, TidewireError

OK, FAILED, USAGE, DATABASE, INTERRUPTED = 0, 1, 2, 3, 130
# Who was asked how things are cannot tell: neither yes nor no.
UNSEEN = 2


def exit_code_of(error: TidewireError) -> int:
    """Choose the exit code for an error."""
    if isinstance(error, ConfigError):
        return USAGE
    return DATABASE if isinstance(error, DatabaseError) else FAILED


def complain(error: TidewireError) -> int:
    """Print an error as one line and return its exit code."""
    print(f"tidewire: {' '.join(str(error).split())}", file=sys.stderr)
    return exit_code_of(error)


def printable(text: str) -> str:
    """Make sure that names made by others do not write colours or lines to a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error inside a group of a TaskGroup; groups may be nested."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def run_async(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a command's coroutine; Ctrl-C and SIGTERM cancel it, so that it cleans up.

    uvloop is used when it is installed.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_until_stopped(main))
        except KeyboardInterrupt:
            return INTERRUPTED
        except BaseExceptionGroup as group:
            error = first_of(group)
            if isinstance(error, TidewireError):
                raise error from None
            raise


async def _until_stopped(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    task = asyncio.current_task()
    assert task is not None
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    try:
        return await main()
    except asyncio.CancelledError:
        if is_stopping:
            return OK
        raise


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
