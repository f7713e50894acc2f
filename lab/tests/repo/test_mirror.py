"""Goal: each file of the lab's core has its own test file. Method: two folders, side by side."""

from __future__ import annotations

from pathlib import Path

LAB = Path(__file__).resolve().parents[2]


def test_every_core_file_has_its_test() -> None:
    core, tests = LAB / "tidelab" / "core", LAB / "tests" / "core"
    sources = [path for path in core.rglob("*.py") if path.name != "__init__.py"]
    assert len(sources) > 30
    missing = [
        str(path.relative_to(core))
        for path in sources
        if not (tests / path.relative_to(core).with_name(f"test_{path.name}")).is_file()
    ]
    assert not missing
