"""Goal: the public surface stays small, sorted, documented, and cheap to import.

Method: read `tidewire.__all__`; import the package in a fresh interpreter, see what came along.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import tidewire
import tidewire.asgi

ENGINE = Path(__file__).resolve().parents[2]

# What a program that only wants our types must not pay for.
SHELLS = {"prometheus_client", "psycopg", "redis", "typer", "uvicorn", "websockets"}
# What only an application may bring along.
FRAMEWORKS = {"django", "fastapi", "hypercorn", "sqlalchemy", "starlette"}


def undocumented(name: str, value: object) -> bool:
    """Tell whether something that can carry a docstring has none of its own."""
    if isinstance(value, type):
        text = vars(value).get("__doc__")
        return not text or text.startswith(f"{value.__name__}(")  # made up by dataclass
    if inspect.isroutine(value) or isinstance(value, ModuleType):
        return not inspect.getdoc(value)
    return False


def surface_faults(package: ModuleType | SimpleNamespace) -> list[str]:
    """Say what is wrong with the `__all__` of a package."""
    names: list[str] = list(package.__all__)
    found = [] if names == sorted(set(names)) else ["__all__ is not sorted, or repeats a name"]
    for name in names:
        if not hasattr(package, name):
            found.append(f"{name} cannot be imported")
        elif undocumented(name, getattr(package, name)):
            found.append(f"{name} has no docstring")
    return found


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a statement loads in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ENGINE)},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return set(result.stdout.split())


def test_the_surface_is_sorted_importable_and_documented() -> None:
    assert surface_faults(tidewire) == []


def test_importing_the_package_loads_no_shell() -> None:
    assert loaded_by("import tidewire") & SHELLS == set()


def test_mounting_loads_no_framework() -> None:
    assert surface_faults(tidewire.asgi) == []
    assert loaded_by("import tidewire.asgi") & FRAMEWORKS == set()


def test_a_loaded_shell_would_be_seen() -> None:
    assert loaded_by("import websockets") & SHELLS == {"websockets"}


class Documented:
    """Stand for a public class."""


class Silent(Documented):
    pass


def silent() -> None:
    pass


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["b", "a"], "__all__ is not sorted, or repeats a name"),
        (["a", "a"], "__all__ is not sorted, or repeats a name"),
        (["gone"], "gone cannot be imported"),
        (["Silent"], "Silent has no docstring"),
        (["silent"], "silent has no docstring"),
    ],
)
def test_a_faulty_surface_is_found(names: list[str], fault: str) -> None:
    package = SimpleNamespace(
        __all__=names, Documented=Documented, Silent=Silent, silent=silent, a=1, b=2
    )
    assert surface_faults(package) == [fault]


def test_a_good_surface_passes() -> None:
    package = SimpleNamespace(__all__=["Documented", "a"], Documented=Documented, a=1)
    assert surface_faults(package) == []
